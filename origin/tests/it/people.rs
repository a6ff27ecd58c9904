//! What any database must do for people: users and sessions, preferences, messages and views, the same on PostgreSQL and on SQLite.

use crate::support::database::{TestDatabase, on_both_databases};
use crate::support::news::noon;
use chrono::TimeDelta;
use larder_origin::board::{Board, NewMessage};
use larder_origin::database::Database;
use larder_origin::preferences::{KEYS_MAX, Preferences, Set};
use larder_origin::users::{Deleted, Email, NewUser, PasswordHash, Passwords, Token, User, Users};
use larder_origin::views::Views;
use serde_json::json;
use tokio::sync::OnceCell;

on_both_databases!(
    an_address_is_taken_once_however_many_come_at_once,
    a_token_opens_its_session_until_that_expires_or_is_closed,
    the_oldest_of_too_many_sessions_go,
    a_preference_is_what_was_last_set,
    the_number_of_preferences_holds_exactly,
    messages_come_newest_first_in_pages,
    only_its_author_takes_a_message_down,
    deleting_a_user_leaves_nothing_of_that_user,
    every_view_is_counted,
    a_message_that_comes_while_its_account_goes_is_counted_or_refused,
    a_flood_without_a_name_wipes_out_no_named_message,
);

/// Hashing is meant to be slow: one hash serves all.
async fn hash() -> &'static PasswordHash {
    static HASH: OnceCell<PasswordHash> = OnceCell::const_new();
    let make = || async {
        Passwords::new(1)
            .hash("12345678".to_owned())
            .await
            .expect("a hash")
    };
    HASH.get_or_init(make).await
}

pub(crate) async fn user(database: &Database, name: &str) -> Option<User> {
    let email = Email::parse(&format!("{name}@example.org")).expect("an address");
    let new = NewUser {
        email: &email,
        name,
        password: hash().await,
    };
    Users::new(database)
        .create(&new, noon())
        .await
        .expect("an answer")
}

async fn an_address_is_taken_once_however_many_come_at_once(database: TestDatabase) {
    let database = database.migrated().await;
    let all = futures_util::future::join_all((0..6).map(|_| user(&database, "ada"))).await;
    let created: Vec<User> = all.into_iter().flatten().collect();
    assert_eq!(created.len(), 1);
    let email = Email::parse("ADA@example.org").expect("an address");
    let found = Users::new(&database)
        .by_email(&email)
        .await
        .expect("a look-up");
    assert_eq!(found, Some((created[0].clone(), hash().await.clone())));
    let nobody = Email::parse("bob@example.org").expect("an address");
    assert_eq!(
        Users::new(&database)
            .by_email(&nobody)
            .await
            .expect("a look-up"),
        None
    );
}

async fn a_token_opens_its_session_until_that_expires_or_is_closed(database: TestDatabase) {
    let database = database.migrated().await;
    let (users, ada) = (
        Users::new(&database),
        user(&database, "ada").await.expect("new"),
    );
    let (token, other) = (
        Token::random().expect("a token").digest(),
        Token::random().expect("a token").digest(),
    );
    let until = noon() + TimeDelta::minutes(10);
    for token in [&token, &other] {
        users
            .open_session(ada.id, token, noon(), until)
            .await
            .expect("open");
    }
    let unknown = Token::random().expect("a token").digest();
    let who = async |token, now| {
        users
            .by_token(token, now)
            .await
            .expect("a look-up")
            .map(|user| user.id)
    };
    assert_eq!(
        who(&token, until - TimeDelta::microseconds(1)).await,
        Some(ada.id)
    );
    assert_eq!(who(&token, until).await, None);
    users.close_session(&token).await.expect("closed");
    assert_eq!(who(&token, noon()).await, None);
    assert_eq!(who(&other, noon()).await, Some(ada.id));
    assert_eq!(who(&unknown, noon()).await, None);
    // Whoever signs in next clears away what has expired.
    users
        .open_session(ada.id, &token, until, until + TimeDelta::minutes(1))
        .await
        .expect("open");
    assert_eq!(who(&other, noon()).await, None);
}

async fn the_oldest_of_too_many_sessions_go(database: TestDatabase) {
    let database = database.migrated().await;
    let (users, ada) = (
        Users::new(&database),
        user(&database, "ada").await.expect("new"),
    );
    let bob = user(&database, "bob").await.expect("new");
    let until = noon() + TimeDelta::days(1);
    let bobs = Token::random().expect("a token").digest();
    users
        .open_session(bob.id, &bobs, noon(), until)
        .await
        .expect("open");
    let mut tokens = Vec::new();
    for second in 0..51 {
        let token = Token::random().expect("a token").digest();
        users
            .open_session(ada.id, &token, noon() + TimeDelta::seconds(second), until)
            .await
            .expect("open");
        tokens.push(token);
    }
    let lasts = async |token| {
        users
            .by_token(token, noon())
            .await
            .expect("a look-up")
            .is_some()
    };
    assert!(!lasts(&tokens[0]).await);
    assert!(lasts(&tokens[1]).await && lasts(&tokens[50]).await && lasts(&bobs).await);
}

async fn a_preference_is_what_was_last_set(database: TestDatabase) {
    let database = database.migrated().await;
    let (preferences, ada) = (
        Preferences::new(&database),
        user(&database, "ada").await.expect("new"),
    );
    let bob = user(&database, "bob").await.expect("new");
    let first = json!({"nested": [1, 2.5, null, "é\u{0}"], "b": true});
    let set = async |user: &User, key, value| {
        preferences
            .set(user.id, key, &value, noon())
            .await
            .expect("an answer")
    };
    assert_eq!(set(&ada, "a.b", first.clone()).await, Set::Created);
    assert_eq!(set(&ada, "theme", json!("light")).await, Set::Created);
    assert_eq!(set(&ada, "theme", json!("dark")).await, Set::Replaced);
    assert_eq!(set(&bob, "theme", json!(null)).await, Set::Created);
    let all = preferences.all(ada.id).await.expect("all");
    assert_eq!(json!(all), json!({"a.b": first, "theme": "dark"}));
    let one = async |user: &User, key| preferences.one(user.id, key).await.expect("a look-up");
    assert_eq!(one(&bob, "theme").await, Some(json!(null)));
    assert_eq!(one(&bob, "a.b").await, None);
    assert!(preferences.remove(ada.id, "theme").await.expect("removed"));
    assert!(!preferences.remove(ada.id, "theme").await.expect("removed"));
    assert_eq!(one(&ada, "theme").await, None);
    assert_eq!(one(&bob, "theme").await, Some(json!(null)));
    let gone = User { id: 4711, ..ada };
    assert_eq!(set(&gone, "theme", json!(1)).await, Set::NoUser);
}

async fn the_number_of_preferences_holds_exactly(database: TestDatabase) {
    let database = database.migrated().await;
    let (preferences, ada) = (
        Preferences::new(&database),
        user(&database, "ada").await.expect("new"),
    );
    for n in 0..KEYS_MAX - 1 {
        preferences
            .set(ada.id, &format!("k{n}"), &json!(n), noon())
            .await
            .expect("set");
    }
    let value = json!(0);
    let keys: Vec<String> = (0..6).map(|n| format!("last{n}")).collect();
    let setting = keys
        .iter()
        .map(|key| preferences.set(ada.id, key, &value, noon()));
    let results = futures_util::future::join_all(setting).await;
    let created = results
        .into_iter()
        .filter(|set| matches!(set, Ok(Set::Created)))
        .count();
    assert_eq!(created, 1);
    assert_eq!(
        preferences
            .set(ada.id, "k0", &json!("new"), noon())
            .await
            .expect("set"),
        Set::Replaced
    );
    assert_eq!(
        preferences
            .set(ada.id, "more", &value, noon())
            .await
            .expect("set"),
        Set::Full
    );
}

async fn messages_come_newest_first_in_pages(database: TestDatabase) {
    let database = database.migrated().await;
    let (board, ada) = (
        Board::new(&database),
        user(&database, "ada").await.expect("new"),
    );
    for n in 0..5 {
        let text = format!("number {n} 'quoted' <b>&amp;");
        let user_id = (n % 2 == 0).then_some(ada.id);
        let new = NewMessage {
            user_id,
            author: "ada",
            text: &text,
        };
        let posted = board
            .post(&new, noon() + TimeDelta::seconds(n))
            .await
            .expect("posted");
        assert_eq!(
            (posted.text.as_str(), posted.signed_in),
            (text.as_str(), n % 2 == 0)
        );
        assert_eq!(
            board.by_id(posted.id).await.expect("a look-up"),
            Some(posted)
        );
    }
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let page = board.page(after, 2).await.expect("a page");
        seen.extend(page.messages.iter().map(|message| message.text.clone()));
        after = page.next;
        if after.is_none() {
            break;
        }
        assert_eq!(page.messages.len(), 2);
    }
    let expected: Vec<String> = (0..5)
        .rev()
        .map(|n| format!("number {n} 'quoted' <b>&amp;"))
        .collect();
    assert_eq!(seen, expected);
    assert_eq!(board.by_id(4711).await.expect("a look-up"), None);
}

async fn only_its_author_takes_a_message_down(database: TestDatabase) {
    let database = database.migrated().await;
    let (board, ada) = (
        Board::new(&database),
        user(&database, "ada").await.expect("new"),
    );
    let bob = user(&database, "bob").await.expect("new");
    let post = async |user_id| {
        let new = NewMessage {
            user_id,
            author: "x",
            text: "y",
        };
        board.post(&new, noon()).await.expect("posted").id
    };
    let (adas, nobodys) = (post(Some(ada.id)).await, post(None).await);
    assert!(!board.remove(adas, bob.id).await.expect("an answer"));
    assert!(!board.remove(nobodys, ada.id).await.expect("an answer"));
    assert!(board.remove(adas, ada.id).await.expect("an answer"));
    let left: Vec<i64> = board
        .page(None, 9)
        .await
        .expect("a page")
        .messages
        .iter()
        .map(|message| message.id)
        .collect();
    assert_eq!(left, [nobodys]);
}

async fn deleting_a_user_leaves_nothing_of_that_user(database: TestDatabase) {
    let database = database.migrated().await;
    let (users, preferences, board) = (
        Users::new(&database),
        Preferences::new(&database),
        Board::new(&database),
    );
    let mut tokens = Vec::new();
    for name in ["ada", "bob"] {
        let user = user(&database, name).await.expect("new");
        let token = Token::random().expect("a token").digest();
        users
            .open_session(user.id, &token, noon(), noon() + TimeDelta::days(1))
            .await
            .expect("open");
        preferences
            .set(user.id, "theme", &json!("dark"), noon())
            .await
            .expect("set");
        let new = NewMessage {
            user_id: Some(user.id),
            author: name,
            text: "hello",
        };
        board.post(&new, noon()).await.expect("posted");
        tokens.push((user, token));
    }
    let (ada, bob) = (&tokens[0], &tokens[1]);
    for (was_there, messages) in [(true, 1), (false, 0)] {
        assert_eq!(
            users.delete(ada.0.id, noon()).await.expect("deleted"),
            Deleted {
                was_there,
                messages
            }
        );
    }
    assert_eq!(
        users.by_token(&ada.1, noon()).await.expect("a look-up"),
        None
    );
    assert_eq!(preferences.all(ada.0.id).await.expect("all").len(), 0);
    assert_eq!(
        users.by_token(&bob.1, noon()).await.expect("a look-up"),
        Some(bob.0.clone())
    );
    assert_eq!(preferences.all(bob.0.id).await.expect("all").len(), 1);
    let authors: Vec<String> = board
        .page(None, 9)
        .await
        .expect("a page")
        .messages
        .into_iter()
        .map(|message| message.author)
        .collect();
    assert_eq!(authors, ["bob"]);
    assert!(
        user(&database, "ada")
            .await
            .is_some_and(|again| again.id != ada.0.id)
    );
}

async fn a_flood_without_a_name_wipes_out_no_named_message(database: TestDatabase) {
    let raw = TestDatabase::at(database.url.clone());
    let database = database.migrated().await;
    let (users, board) = (Users::new(&database), Board::new(&database));
    let ada = user(&database, "ada").await.expect("new");
    let post = async |user_id| {
        let new = NewMessage {
            user_id,
            author: "ada",
            text: "hello",
        };
        board.post(&new, noon()).await.expect("posted").id
    };
    let (nameless, named) = (post(None).await, post(Some(ada.id)).await);
    raw.execute(
        "INSERT INTO messages (user_id, author, text, posted_at) \
         WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 12000) \
         SELECT NULL, 'flood', 'x', posted_at FROM messages, n WHERE author = 'ada' AND user_id IS NULL",
    )
    .await;
    post(None).await;
    assert!(board.by_id(named).await.expect("a look-up").is_some());
    assert!(board.by_id(nameless).await.expect("a look-up").is_none());
    let mut kept = 0;
    let mut after = None;
    loop {
        let page = board.page(after, 1000).await.expect("a page");
        kept += page.messages.len();
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(kept, 2001);
    assert_eq!(
        users
            .delete(ada.id, noon())
            .await
            .expect("deleted")
            .messages,
        1
    );
}

async fn every_view_is_counted(database: TestDatabase) {
    let views = Views::new(&database.migrated().await);
    assert_eq!(views.total().await.expect("a number"), 0);
    let counting = (0..20).map(|n| {
        views.count(
            if n % 2 == 0 { "/" } else { "/board" },
            noon() + TimeDelta::days(n % 3),
        )
    });
    for counted in futures_util::future::join_all(counting).await {
        counted.expect("counted");
    }
    assert_eq!(views.total().await.expect("a number"), 20);
}

async fn a_message_that_comes_while_its_account_goes_is_counted_or_refused(database: TestDatabase) {
    let pool = database.migrated().await;
    let (users, board) = (Users::new(&pool), Board::new(&pool));
    for round in 0..20 {
        let user = user(&pool, &format!("ada{round}")).await.expect("new");
        let posts = (0..4).map(|_| async {
            let new = NewMessage {
                user_id: Some(user.id),
                author: "ada",
                text: "hello",
            };
            board.post(&new, noon()).await.is_ok()
        });
        let deleting = users.delete(user.id, noon());
        let (posted, deleted) =
            futures_util::future::join(futures_util::future::join_all(posts), deleting).await;
        let posted = posted.into_iter().filter(|posted| *posted).count();
        let deleted = deleted.expect("nobody waits in a circle");
        assert_eq!(deleted.messages, posted as u64, "round {round}");
    }
}
