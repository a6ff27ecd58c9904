//! What the tests stand on.

pub(crate) mod binary;
pub(crate) mod fault;
pub(crate) mod library;
pub(crate) mod load;
pub(crate) mod proxy;
pub(crate) mod raw;
pub(crate) mod redis;
pub(crate) mod redis_sets;
pub(crate) mod upstream;
pub(crate) mod wait;
