//! What goes wrong meanwhile: the links, Redis, and the replicas.

use super::world::{REPLICAS, World};
use crate::support::fault::{Mode, Random};
use crate::support::proxy::Proxy;
use crate::support::redis::PrivateRedis;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Breaks one thing after the other until it is told to stop, and leaves everything whole.
pub(super) async fn breaker(
    world: Arc<World>,
    mut redis: PrivateRedis,
    mut proxies: Vec<Proxy>,
    seed: u64,
    stop: Arc<AtomicBool>,
) -> (PrivateRedis, Vec<Proxy>) {
    let mut random = Random::new(seed);
    while !stop.load(Ordering::SeqCst) {
        pause(&mut random, 800).await;
        let replica = usize::try_from(random.below(REPLICAS as u64)).unwrap();
        match random.below(12) {
            0 | 1 => link(&world, &mut random, replica, Mode::Cut).await,
            2 | 3 => link(&world, &mut random, replica, Mode::BlackHole).await,
            4 => {
                let delay = Duration::from_millis(5 + random.below(200));
                link(&world, &mut random, replica, Mode::Delay(delay)).await;
            }
            5 => say(&world, &redis, redis::cmd("FLUSHALL")),
            6 => say(&world, &redis, redis::cmd("SCRIPT").arg("FLUSH").to_owned()),
            7 | 8 => log_key(&world, &redis, &mut random),
            9 => {
                world.note_fault("Redis is killed".to_owned());
                redis.kill();
                pause(&mut random, 2500).await;
                redis.run().await;
                world.note_fault("Redis is back without data".to_owned());
            }
            10 => {
                world.note_fault("Redis is frozen".to_owned());
                redis.freeze();
                pause(&mut random, 3000).await;
                redis.thaw();
                world.note_fault("Redis goes on".to_owned());
            }
            _ => {
                world.note_fault(format!("replica {replica} restarts"));
                world.restart(replica, &mut proxies[replica]).await;
            }
        }
    }
    (redis, proxies)
}

async fn pause(random: &mut Random, ms_max: u64) {
    tokio::time::sleep(Duration::from_millis(random.below(ms_max))).await;
}

async fn link(world: &World, random: &mut Random, replica: usize, mode: Mode) {
    world.note_fault(format!("the link of replica {replica}: {mode:?}"));
    world.links[replica].set(mode);
    // Twice as long as a lease, so that what comes after it is seen, too.
    pause(random, 5000).await;
    world.links[replica].set(Mode::Pass);
    world.note_fault(format!("the link of replica {replica} is whole"));
}

fn say(world: &World, redis: &PrivateRedis, cmd: redis::Cmd) {
    let told = String::from_utf8_lossy(&cmd.get_packed_command()).replace("\r\n", " ");
    world.note_fault(told);
    redis.ask::<redis::Value>(&cmd);
}

/// One key of the log is lost, or becomes something else.
fn log_key(world: &World, redis: &PrivateRedis, random: &mut Random) {
    let mut keys: Vec<String> = redis.ask(redis::cmd("KEYS").arg("*:log:*"));
    keys.sort();
    if keys.is_empty() {
        return;
    }
    let key = &keys[usize::try_from(random.below(keys.len() as u64)).unwrap()];
    let mut cmd = redis::cmd(["DEL", "SET"][usize::try_from(random.below(2)).unwrap()]);
    cmd.arg(key);
    if cmd.args_iter().next() == Some(redis::Arg::Simple(b"SET")) {
        cmd.arg("something else");
    }
    say(world, redis, cmd);
}
