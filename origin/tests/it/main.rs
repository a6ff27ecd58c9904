//! The origin from outside: the real program and real databases.
