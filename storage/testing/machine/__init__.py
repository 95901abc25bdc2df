"""`StoreMachine`, the state machine that compares a store with a dict, and its parts."""
