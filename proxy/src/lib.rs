//! Larder, the proxy.
