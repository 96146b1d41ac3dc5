// A second device for torch, "second". Its memory is the host's and its operations are the CPU's, but a tensor that is
// there and one that is on the CPU do not mix: what would end in an error on a GPU ends in one here.

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/EmptyTensor.h>
#include <ATen/autocast_mode.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/native/CPUFallback.h>
#include <ATen/native/Resize.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/set_cpu_dispatch.h>
#include <ATen/ops/set_native.h>
#include <ATen/ops/unfold_native.h>
#include <ATen/ops/view_as_complex_native.h>
#include <ATen/ops/view_as_real_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <tuple>
#include <vector>

namespace {

using at::Tensor;
using std::optional;
using SymInts = c10::SymIntArrayRef;

constexpr auto SECOND = c10::DeviceType::PrivateUse1;
const c10::DispatchKeySet KEYS(c10::DispatchKey::PrivateUse1);

// what torch asks of every device: one of it, one stream, memory, random numbers

struct Guard final : c10::impl::DeviceGuardImplInterface {
  c10::DeviceType type() const override { return SECOND; }
  c10::Device exchangeDevice(c10::Device device) const override { return device; }
  c10::Device getDevice() const override { return c10::Device(SECOND, 0); }
  void setDevice(c10::Device) const override {}
  void uncheckedSetDevice(c10::Device) const noexcept override {}
  c10::Stream getStream(c10::Device device) const override { return c10::Stream(c10::Stream::DEFAULT, device); }
  c10::Stream getDefaultStream(c10::Device device) const override { return getStream(device); }
  c10::Stream exchangeStream(c10::Stream stream) const override { return stream; }
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
  void record(void**, const c10::Stream&, const c10::DeviceIndex, const c10::EventFlag) const override {}
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  void destroyEvent(void*, const c10::DeviceIndex) const noexcept override {}
  bool queryStream(const c10::Stream&) const override { return true; }
  void synchronizeStream(const c10::Stream&) const override {}
};
C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard);

struct Memory final : c10::Allocator {
  c10::DataPtr allocate(size_t bytes) override {
    void* start = bytes ? std::aligned_alloc(64, (bytes + 63) / 64 * 64) : nullptr;
    return {start, start, &std::free, c10::Device(SECOND, 0)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &std::free; }
  void copy_data(void* to, const void* from, size_t bytes) const override { std::memcpy(to, from, bytes); }
};
Memory memory;
REGISTER_ALLOCATOR(SECOND, &memory);

void grow(const c10::Storage& storage, size_t bytes) {
  auto fresh = memory.allocate(bytes);
  if (storage.data()) std::memcpy(fresh.get(), storage.data(), std::min(bytes, storage.nbytes()));
  storage.unsafeGetStorageImpl()->set_data_ptr_noswap(std::move(fresh));
  storage.unsafeGetStorageImpl()->set_nbytes(bytes);
}

struct Hooks final : at::PrivateUse1HooksInterface {
  const at::Generator& getDefaultGenerator(c10::DeviceIndex) const override {
    return at::detail::getDefaultCPUGenerator();
  }
  at::Generator getNewGenerator(c10::DeviceIndex) const override { return at::detail::createCPUGenerator(); }
  c10::Device getDeviceFromPtr(void*) const override { return c10::Device(SECOND, 0); }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  bool isAvailable() const override { return true; }
  bool isBuilt() const override { return true; }
  void resizePrivateUse1Bytes(const c10::Storage& storage, size_t bytes) const override { grow(storage, bytes); }
};
const bool registered = (at::RegisterPrivateUse1HooksInterface(new Hooks()), true);

// tensors, and views of them

Tensor empty(
    SymInts size, optional<at::ScalarType> type, optional<at::Layout>, optional<at::Device>, optional<bool>,
    optional<at::MemoryFormat> format) {
  return at::detail::empty_generic(C10_AS_INTARRAYREF_SLOW(size), &memory, KEYS, c10::dtype_or_default(type), format);
}

Tensor empty_strided(
    SymInts size, SymInts stride, optional<at::ScalarType> type, optional<at::Layout>, optional<at::Device>,
    optional<bool>) {
  return at::detail::empty_strided_generic(
      C10_AS_INTARRAYREF_SLOW(size), C10_AS_INTARRAYREF_SLOW(stride), &memory, KEYS, c10::dtype_or_default(type));
}

Tensor as_strided(const Tensor& self, SymInts size, SymInts stride, optional<c10::SymInt> offset) {
  auto from = offset ? optional<int64_t>(offset->expect_int()) : std::nullopt;
  return at::native::as_strided_tensorimpl(
      self, C10_AS_INTARRAYREF_SLOW(size), C10_AS_INTARRAYREF_SLOW(stride), from);
}

Tensor view(const Tensor& self, SymInts size) { return at::native::view(self, C10_AS_INTARRAYREF_SLOW(size)); }

Tensor reshape_alias(const Tensor& self, SymInts size, SymInts stride) {
  return at::native::_reshape_alias(self, C10_AS_INTARRAYREF_SLOW(size), C10_AS_INTARRAYREF_SLOW(stride));
}

Tensor& set_source(Tensor& self, at::Storage source, c10::SymInt offset, SymInts size, SymInts stride) {
  return at::cpu::set_(
      self, source, offset.expect_int(), C10_AS_INTARRAYREF_SLOW(size), C10_AS_INTARRAYREF_SLOW(stride));
}

const Tensor& resize_(const Tensor& self, SymInts symbolic, optional<at::MemoryFormat>) {
  auto size = C10_AS_INTARRAYREF_SLOW(symbolic);
  if (self.sizes() == size) return self;  // its strides stay
  self.unsafeGetTensorImpl()->set_sizes_contiguous(size);
  const size_t bytes = (self.numel() + self.storage_offset()) * self.dtype().itemsize();
  if (bytes > self.storage().nbytes()) grow(self.storage(), bytes);
  return self;
}

// copies

Tensor on_cpu(const Tensor& tensor) {  // the same memory, seen from the CPU
  if (tensor.is_cpu()) return tensor;
  auto options = tensor.options().device(at::kCPU);
  auto seen = at::from_blob(
      const_cast<void*>(tensor.const_data_ptr()), tensor.sizes(), tensor.strides(), [tensor](void*) {}, options);
  seen._set_conj(tensor.is_conj());
  seen._set_neg(tensor.is_neg());
  return seen;
}

Tensor copy_from(const Tensor& self, const Tensor& to, bool) {
  on_cpu(to).copy_(on_cpu(self));
  return to;
}

Tensor copy_from_and_resize(const Tensor& self, const Tensor& to) {
  to.resize_(self.sizes());
  return copy_from(self, to, false);
}

at::Scalar item(const Tensor& self) { return on_cpu(self).item(); }

// Any other operation is the CPU's. As on CUDA, no operand may be on the CPU itself, except one without dimensions and
// the indices of a tensor.
void any_other(const c10::OperatorHandle& operation, torch::jit::Stack* stack) {
  const auto& schema = operation.schema();
  const std::string name = schema.name();
  const bool indexes = name == "aten::index" || name == "aten::index_put" || name == "aten::index_put_" ||
      name == "aten::_index_put_impl_";
  auto check = [&](const Tensor& tensor) {
    TORCH_CHECK(
        indexes || !tensor.defined() || !tensor.is_cpu() || tensor.dim() == 0, name, " has operands on the second device",
        " and one on the CPU, of size ", tensor.sizes());
  };
  for (const auto& value : torch::jit::last(*stack, schema.arguments().size())) {
    if (value.isTensor()) check(value.toTensor());
    if (value.isTensorList())
      for (const Tensor& tensor : value.toTensorList()) check(tensor);
  }
  at::native::cpu_fallback(operation, stack);
}

// operations that torch takes apart in its own way on each device

bool given(const optional<Tensor>& bias) { return bias && bias->defined(); }

Tensor convolution(
    const Tensor& input, const Tensor& weight, const optional<Tensor>& bias, SymInts stride, SymInts padding,
    SymInts dilation, bool transposed, SymInts output_padding, c10::SymInt groups) {
  auto added = given(bias) ? optional<Tensor>(on_cpu(*bias)) : std::nullopt;
  return at::convolution_symint(
             on_cpu(input), on_cpu(weight), added, stride, padding, dilation, transposed, output_padding, groups)
      .to(input.device());
}

std::tuple<Tensor, Tensor, Tensor> convolution_backward(
    const Tensor& gradient, const Tensor& input, const Tensor& weight, SymInts stride, SymInts padding, SymInts dilation,
    bool transposed, SymInts output_padding, c10::SymInt groups, std::array<bool, 3> wanted) {
  std::vector<c10::SymInt> bias{weight.sym_size(0)};
  auto [of_input, of_weight, of_bias] = at::convolution_backward_symint(
      on_cpu(gradient), on_cpu(input), on_cpu(weight), at::OptionalSymIntArrayRef(bias), stride, padding, dilation,
      transposed, output_padding, groups, wanted);
  auto back = [&](const Tensor& tensor) { return tensor.defined() ? tensor.to(gradient.device()) : tensor; };
  return {back(of_input), back(of_weight), back(of_bias)};
}

std::tuple<Tensor, Tensor> gru_cell(
    const Tensor& input, const Tensor& hidden, const Tensor& state, const optional<Tensor>& input_bias,
    const optional<Tensor>& hidden_bias) {
  auto i = (given(input_bias) ? input + *input_bias : input).chunk(3, 1);
  auto h = (given(hidden_bias) ? hidden + *hidden_bias : hidden).chunk(3, 1);
  auto reset = (i[0] + h[0]).sigmoid(), update = (i[1] + h[1]).sigmoid();
  auto fresh = (i[2] + reset * h[2]).tanh();
  return {fresh + update * (state - fresh), fresh};
}

}  // namespace

TORCH_LIBRARY_IMPL(aten, PrivateUse1, library) {
  library.impl("empty.memory_format", empty);
  library.impl("empty_strided", empty_strided);
  library.impl("as_strided", as_strided);
  library.impl("view", view);
  library.impl("_reshape_alias", reshape_alias);
  library.impl("unfold", at::native::unfold);
  library.impl("view_as_complex", at::native::view_as_complex);
  library.impl("view_as_real", at::native::view_as_real);
  library.impl("resize_", resize_);
  library.impl("set_.source_Storage_storage_offset", set_source);
  library.impl("set_.source_Storage", at::native::set_);
  library.impl("set_.source_Tensor", at::native::set_tensor_);
  library.impl("_copy_from", copy_from);
  library.impl("_copy_from_and_resize", copy_from_and_resize);
  library.impl("_local_scalar_dense", item);
  library.impl("convolution_overrideable", convolution);
  library.impl("convolution_backward_overrideable", convolution_backward);
}

TORCH_LIBRARY_IMPL(_, PrivateUse1, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&any_other>());
}

TORCH_LIBRARY_IMPL(aten, AutogradPrivateUse1, library) { library.impl("_thnn_fused_gru_cell", gru_cell); }

// a copy resolves conjugates and signs itself
TORCH_LIBRARY_IMPL(aten, Conjugate, library) { library.impl("_copy_from", torch::CppFunction::makeFallthrough()); }
TORCH_LIBRARY_IMPL(aten, Negative, library) { library.impl("_copy_from", torch::CppFunction::makeFallthrough()); }

TORCH_LIBRARY_IMPL(_, AutocastPrivateUse1, library) { library.fallback(torch::CppFunction::makeFallthrough()); }
TORCH_LIBRARY_IMPL(aten, AutocastPrivateUse1, m) {
  using namespace at::autocast;
  KERNEL_PRIVATEUSEONE(mm, lower_precision_fp)
  KERNEL_PRIVATEUSEONE(bmm, lower_precision_fp)
  KERNEL_PRIVATEUSEONE(matmul, lower_precision_fp)
  KERNEL_PRIVATEUSEONE(linear, lower_precision_fp)
  KERNEL_PRIVATEUSEONE(layer_norm, fp32)
}
