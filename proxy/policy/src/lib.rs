//! What an HTTP cache may keep and reuse.
