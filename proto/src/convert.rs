//! Model types to and from generated ones, field by field; nothing else in the house translates.
