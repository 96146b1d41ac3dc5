// Tables are sorted by the button in a column's head: once, the other way round, then as they were.
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0], written = [...body.rows];
  const number = (cell) => parseFloat(cell.dataset.value ?? cell.textContent);
  const compared = {
    number: (a, b) => number(a) - number(b),
    text: (a, b) => a.textContent.localeCompare(b.textContent, "en", { numeric: true }),
  };
  table.tHead.addEventListener("click", (event) => {
    const head = event.target.closest("button")?.parentElement;
    if (!head) return;
    const kind = head.dataset.kind;
    const orders = kind === "number" ? ["descending", "ascending"] : ["ascending", "descending"];
    const order = orders[orders.indexOf(head.getAttribute("aria-sort")) + 1];
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    let rows = written;
    if (order) {
      head.setAttribute("aria-sort", order);
      const cell = (row) => row.cells[head.cellIndex], sign = order === "ascending" ? 1 : -1;
      const known = written.filter((row) => cell(row).textContent), empty = written.filter((row) => !cell(row).textContent);
      rows = [...known.sort((a, b) => sign * compared[kind](cell(a), cell(b))), ...empty];
    }
    body.append(...rows);
  });
}
