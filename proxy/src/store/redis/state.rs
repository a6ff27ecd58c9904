//! What does a server say of itself: is it a master, does it evict what must stay?
//!
//! Both questions may be forbidden by an ACL. Then nothing is known, and nothing is said.

use redis::{RedisResult, Value};

use super::dial::Wire;
use super::node::is_from_server;

/// What a server is to its peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Master,
    /// It takes no writes.
    Replica,
    /// It may not say.
    Unknown,
}

pub(super) async fn role(wire: &Wire) -> RedisResult<Role> {
    match wire.ask(&redis::cmd("ROLE")).await {
        Ok(answer) => Ok(role_in(&answer)),
        Err(error) if is_from_server(&error) => Ok(Role::Unknown),
        Err(error) => Err(error),
    }
}

fn role_in(answer: &Value) -> Role {
    let Value::Array(parts) = answer else {
        return Role::Unknown;
    };
    match parts.first().and_then(text) {
        Some(b"master") => Role::Master,
        Some(b"slave") => Role::Replica,
        _ => Role::Unknown,
    }
}

/// Would it evict keys that have no TTL?
pub(super) async fn eviction_is_unsound(wire: &Wire) -> bool {
    let mut cmd = redis::cmd("CONFIG");
    cmd.arg("GET").arg("maxmemory-policy");
    let ask = tokio::time::timeout(super::node::PING_MAX, wire.ask(&cmd));
    matches!(ask.await, Ok(Ok(answer)) if evicts_all(&answer))
}

fn evicts_all(answer: &Value) -> bool {
    let policy = match answer {
        Value::Map(pairs) => pairs.first().and_then(|(_, policy)| text(policy)),
        Value::Array(pair) => pair.get(1).and_then(text),
        _ => None,
    };
    policy.is_some_and(|policy| policy.starts_with(b"allkeys-"))
}

/// The bytes of a string, however it is framed.
pub(super) fn text(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.as_bytes()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn a_role_is_known_by_its_first_word() {
        let answer = |word| Value::Array(vec![bulk(word), Value::Int(3)]);
        assert_eq!(role_in(&answer("master")), Role::Master);
        assert_eq!(role_in(&answer("slave")), Role::Replica);
        assert_eq!(role_in(&answer("sentinel")), Role::Unknown);
        assert_eq!(role_in(&Value::Array(vec![])), Role::Unknown);
        assert_eq!(role_in(&Value::Nil), Role::Unknown);
    }

    #[test]
    fn only_a_policy_that_spares_no_key_is_unsound() {
        let name = || bulk("maxmemory-policy");
        let old = |policy| Value::Array(vec![name(), bulk(policy)]);
        let new = |policy| Value::Map(vec![(name(), bulk(policy))]);
        for policy in ["allkeys-lru", "allkeys-lfu", "allkeys-random"] {
            assert!(evicts_all(&old(policy)) && evicts_all(&new(policy)));
        }
        for policy in ["volatile-lru", "noeviction"] {
            assert!(!evicts_all(&old(policy)) && !evicts_all(&new(policy)));
        }
        assert!(!evicts_all(&Value::Nil) && !evicts_all(&Value::Array(vec![])));
    }
}
