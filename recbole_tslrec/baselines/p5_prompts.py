"""P5's two tasks in words: what follows a history, and what a user chooses. The last paraphrase is never trained."""

SEQUENTIAL = (
    "After {history} , which item does user {user} choose next ?",
    "User {user} has had {history} so far . What follows ?",
    "Here is the history of user {user} : {history} . Name the next item .",
    "What will user {user} pick , given {history} ?",
    "{history} were chosen by user {user} in this order . Continue the list .",
    "Recommend the next item to user {user} , who has had {history} .",
    "Which item fits user {user} after {history} ?",
    "User {user} took {history} one after the other . Predict one more .",
    "Looking at {history} , guess what user {user} takes next .",
    "The latest items of user {user} are {history} . Which one is to come ?",
    "Complete the purchases of user {user} : {history} and then ?",
)
STRAIGHTFORWARD = (
    "Which item would user {user} choose ?",
    "Recommend an item to user {user} .",
    "What should be shown to user {user} ?",
    "Name an item that user {user} will like .",
    "What does user {user} look for ?",
    "Suggest something for user {user} .",
    "Which item suits user {user} best ?",
    "Predict a choice of user {user} .",
    "User {user} wants one more item . Which one ?",
    "Pick an item on behalf of user {user} .",
    "What is the right item for user {user} ?",
)
TEXTS = (*SEQUENTIAL, *STRAIGHTFORWARD)
TRAINED = 10  # paraphrases; the one behind them is for tests of unseen words
