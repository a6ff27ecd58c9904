//! The SQL of duplicates: who may tell the same story as an article that is new or changed, and who points at whom.
//!
//! Runs in the transaction that stores the articles. Writers take turns (`Articles::store` sees to that), so nobody links to an
//! article that somebody else is making a duplicate at the same time. Headlines are compared with those only that are shown: a
//! group can't drift away from what its readers see.
//!
//! Articles of personal sources take no part, neither as the new one nor as the one that was there: what one user adds must not
//! decide what others are shown.

use super::{Headline, Member, WINDOW_MAX, elect, is_comparable, is_same_story};
use crate::database::{Connection, DatabaseError, Dialect, json, on_connection, stored_time};
use crate::personal::{is_personal, not_personal};
use crate::search::{is_stop_word, week};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Articles that are linked anew because the one they pointed at tells another story now. More stay where they are.
const FOLLOWERS_MAX: i64 = 500;
/// Headlines of one article that are looked at, the earliest of the window first.
const CANDIDATES_MAX: i64 = 50;
/// Articles of the same stories that are marked as changed when one of them is shown otherwise, the earliest first.
const TOUCHED_MAX: i64 = 500;
/// Others of its story that an article is shown with, the earliest first.
const ALSO_AT_MAX: usize = 10;
/// Two headlines this much alike share two of their longest words.
const LONGEST_WORDS: usize = 4;

/// Articles that have to do with one another.
type Pairs = Vec<(i64, i64)>;

/// An article that is new or changed.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Changed {
    pub(crate) id: i64,
    pub(crate) source: String,
    pub(crate) outlet: Option<String>,
    pub(crate) headline: String,
    pub(crate) published_at: DateTime<Utc>,
}

#[derive(sqlx::FromRow)]
struct Candidate {
    of_id: i64,
    id: i64,
    source: String,
    outlet: Option<String>,
    headline: String,
    published_at: DateTime<Utc>,
}

#[derive(sqlx::FromRow)]
struct GroupMember {
    id: i64,
    published_at: DateTime<Utc>,
    duplicate_of: Option<i64>,
}

/// What the index is asked for the headline of an article.
#[derive(Serialize)]
struct Question {
    id: i64,
    query: String,
    since: String,
    until: String,
    first_week: i32,
    last_week: i32,
}

#[derive(Serialize)]
struct Link {
    id: i64,
    duplicate_of: Option<i64>,
}

/// Finds the stories that these articles tell, and those of the articles that pointed at them: what these were found to be alike
/// may be gone. Has every article point at the one that is shown. Gives the articles that are
/// shown otherwise now: as duplicates, as articles of their own, or with others behind them.
pub(crate) async fn link(
    connection: &mut Connection<'_>,
    dialect: Dialect,
    changed: &[Changed],
    now: DateTime<Utc>,
) -> Result<Vec<i64>, DatabaseError> {
    let shared = changed
        .iter()
        .filter(|article| !is_personal(&article.source));
    let changed: Vec<Changed> = shared.cloned().collect();
    if changed.is_empty() {
        return Ok(Vec::new());
    }
    let sql = statements(dialect);
    let changed = with_followers(connection, dialect, changed).await?;
    let ids: Vec<i64> = changed.iter().map(|article| article.id).collect();
    let ids_json = json(&ids)?;
    let (before, same_url): (Pairs, Pairs) = on_connection!(connection, c => {
        // What was found for earlier words no longer counts.
        let linked = sqlx::query_as(sql.linked).bind(&ids_json).fetch_all(&mut **c).await?;
        sqlx::query(sql.forget).bind(&ids_json).execute(&mut **c).await?;
        (linked, sqlx::query_as(sql.same_url).bind(&ids_json).fetch_all(&mut **c).await?)
    });
    let questions: Vec<Question> = changed
        .iter()
        .filter_map(|article| question(article, dialect))
        .collect();
    let mut candidates: Vec<Candidate> = Vec::new();
    if !questions.is_empty() {
        let questions = json(&questions)?;
        candidates = on_connection!(connection, c => {
            sqlx::query_as(sql.candidates).bind(&questions).bind(CANDIDATES_MAX).fetch_all(&mut **c).await?
        });
    }
    let mut pairs = same_url;
    pairs.extend(same_headline(&changed, &candidates));
    let touched: BTreeSet<i64> = pairs
        .iter()
        // Those of a group that was left are shown without who left it.
        .chain(&before)
        .flat_map(|(one, other)| [*one, *other])
        .chain(ids)
        .collect();
    let touched = json(&touched)?;
    let members: Vec<GroupMember> = on_connection!(connection, c => {
        sqlx::query_as(sql.groups).bind(&touched).fetch_all(&mut **c).await?
    });
    let links = differences(&members, &pairs);
    let affected = affected(&before, &members, &links);
    if !links.is_empty() || !affected.is_empty() {
        let (links, affected) = (json(&links)?, json(&affected)?);
        on_connection!(connection, c => {
            sqlx::query(sql.point).bind(&links).execute(&mut **c).await?;
            sqlx::query(sql.touch).bind(&affected).bind(now).execute(&mut **c).await?;
        });
    }
    Ok(affected.into_iter().collect())
}

/// Marks the other articles of these ones' stories as changed, and gives them: they tell where else their story stands.
pub(crate) async fn touch_shown(
    connection: &mut Connection<'_>,
    dialect: Dialect,
    ids: &[i64],
    now: DateTime<Utc>,
) -> Result<Vec<i64>, DatabaseError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let (sql, ids) = (statements(dialect), json(&ids)?);
    let others: Vec<(i64, DateTime<Utc>)> = on_connection!(connection, c => {
        sqlx::query_as(sql.others).bind(&ids).bind(TOUCHED_MAX).fetch_all(&mut **c).await?
    });
    let others: Vec<i64> = others.into_iter().map(|(id, _)| id).collect();
    let others_json = json(&others)?;
    on_connection!(connection, c => {
        sqlx::query(sql.touch).bind(&others_json).bind(now).execute(&mut **c).await?;
    });
    Ok(others)
}

async fn with_followers(
    connection: &mut Connection<'_>,
    dialect: Dialect,
    changed: Vec<Changed>,
) -> Result<Vec<Changed>, DatabaseError> {
    let ids: BTreeSet<i64> = changed.iter().map(|article| article.id).collect();
    let ids_json = json(&ids)?;
    let followers: Vec<Changed> = on_connection!(connection, c => {
        sqlx::query_as(statements(dialect).followers).bind(&ids_json).bind(FOLLOWERS_MAX).fetch_all(&mut **c).await?
    });
    let followers = followers
        .into_iter()
        .filter(|article| !ids.contains(&article.id));
    Ok(changed.into_iter().chain(followers).collect())
}

fn same_headline(changed: &[Changed], candidates: &[Candidate]) -> Vec<(i64, i64)> {
    let by_id: BTreeMap<i64, &Changed> = changed
        .iter()
        .map(|article| (article.id, article))
        .collect();
    let is_same = |candidate: &&Candidate| {
        by_id.get(&candidate.of_id).is_some_and(|article| {
            let one = Headline {
                source: &article.source,
                outlet: article.outlet.as_deref(),
                words: &article.headline,
                published_at: article.published_at,
            };
            let other = Headline {
                source: &candidate.source,
                outlet: candidate.outlet.as_deref(),
                words: &candidate.headline,
                published_at: candidate.published_at,
            };
            is_same_story(one, other)
        })
    };
    candidates
        .iter()
        .filter(is_same)
        .map(|candidate| (candidate.of_id, candidate.id))
        .collect()
}

/// Whom the links changed: those that point elsewhere now, and those that are shown with others. An article of which both stayed
/// is not among them.
fn affected(before: &[(i64, i64)], members: &[GroupMember], links: &[Link]) -> BTreeSet<i64> {
    let mut were: BTreeMap<i64, Option<i64>> = members
        .iter()
        .map(|member| (member.id, member.duplicate_of))
        .collect();
    were.extend(before.iter().map(|(id, shown)| (*id, Some(*shown))));
    let mut are = were.clone();
    are.extend(before.iter().map(|(id, _)| (*id, None)));
    are.extend(links.iter().map(|link| (link.id, link.duplicate_of)));
    let (were, are) = (shown(members, &were), shown(members, &are));
    are.iter()
        .filter(|(id, shown)| were.get(*id) != Some(shown))
        .map(|(id, _)| *id)
        .collect()
}

/// How these are shown, when each points there: at whom, and with whom.
fn shown(
    members: &[GroupMember],
    pointing: &BTreeMap<i64, Option<i64>>,
) -> BTreeMap<i64, (Option<i64>, Vec<i64>)> {
    let mut by_time: Vec<(DateTime<Utc>, i64)> = members
        .iter()
        .map(|member| (member.published_at, member.id))
        .collect();
    by_time.sort_unstable();
    by_time.dedup();
    let centre = |id: i64| pointing.get(&id).copied().flatten().unwrap_or(id);
    let mut stories: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for (_, id) in &by_time {
        stories.entry(centre(*id)).or_default().push(*id);
    }
    let with_others = |(_, id): &(DateTime<Utc>, i64)| {
        let story = stories.get(&centre(*id)).into_iter().flatten().copied();
        let others = story.filter(|other| other != id).take(ALSO_AT_MAX);
        (*id, (pointing.get(id).copied().flatten(), others.collect()))
    };
    by_time.iter().map(with_others).collect()
}

/// What has to be written so that stored groups and found pairs are stars.
fn differences(members: &[GroupMember], pairs: &[(i64, i64)]) -> Vec<Link> {
    let by_id: BTreeMap<i64, Member> = members
        .iter()
        .map(|member| {
            let published_at = member.published_at;
            (
                member.id,
                Member {
                    published_at,
                    id: member.id,
                },
            )
        })
        .collect();
    let group = |ids: [i64; 2]| ids.iter().filter_map(|id| by_id.get(id)).copied().collect();
    let stored = members
        .iter()
        .map(|member| group([member.id, member.duplicate_of.unwrap_or(member.id)]));
    let found = pairs.iter().map(|(one, other)| group([*one, *other]));
    let elected = elect(&stored.chain(found).collect::<Vec<Vec<Member>>>());
    members
        .iter()
        .filter_map(|member| {
            let duplicate_of = *elected.get(&member.id)?;
            (duplicate_of != member.duplicate_of).then_some(Link {
                id: member.id,
                duplicate_of,
            })
        })
        .collect()
}

/// Two of the longest words in any pair: alike headlines have that much in common, and few others of the same days do.
fn question(article: &Changed, dialect: Dialect) -> Option<Question> {
    if !is_comparable(&article.headline) {
        return None;
    }
    let mut words: Vec<&str> = article
        .headline
        .split(' ')
        .filter(|word| !is_stop_word(word))
        .collect();
    words.sort_by_key(|word| (std::cmp::Reverse(word.chars().count()), *word));
    words.dedup();
    words.truncate(LONGEST_WORDS);
    let since = stored_time(article.published_at - WINDOW_MAX);
    let until = stored_time(article.published_at + WINDOW_MAX);
    let text = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::AutoSi, false);
    Some(Question {
        id: article.id,
        query: query(&words, dialect)?,
        since: text(since),
        until: text(until),
        first_week: week(since),
        last_week: week(until),
    })
}

fn query(words: &[&str], dialect: Dialect) -> Option<String> {
    let (and, or) = match dialect {
        Dialect::Postgres => (" & ", " | "),
        Dialect::Sqlite => (" AND ", " OR "),
    };
    let quoted: Vec<String> = words
        .iter()
        .map(|word| match dialect {
            Dialect::Postgres => format!("'{word}':A"),
            Dialect::Sqlite => format!("\"{word}\""),
        })
        .collect();
    let pairs = quoted.iter().enumerate().flat_map(|(n, one)| {
        let others = quoted.iter().skip(n + 1);
        others.map(move |other| format!("({one}{and}{other})"))
    });
    let mut pairs: Vec<String> = pairs.collect();
    if pairs.is_empty() {
        pairs = quoted;
    }
    let query = pairs.join(or);
    match dialect {
        _ if query.is_empty() => None,
        Dialect::Postgres => Some(query),
        Dialect::Sqlite => Some(format!("title : ({query})")),
    }
}

/// The statements in one dialect.
struct Statements {
    followers: &'static str,
    linked: &'static str,
    forget: &'static str,
    same_url: &'static str,
    candidates: &'static str,
    groups: &'static str,
    point: &'static str,
    touch: &'static str,
    others: &'static str,
}

macro_rules! statements {
    (ids: $ids:literal, candidates: $candidates:expr, links: $links:literal $(,)?) => {
        Statements {
            followers: concat!(
                "SELECT id, source, outlet, headline, published_at FROM articles WHERE duplicate_of IS NOT NULL AND ",
                not_personal!("source"), " AND headline IS NOT NULL AND duplicate_of IN (", $ids, ") ORDER BY published_at, id LIMIT $2"
            ),
            linked: concat!(
                "SELECT id, duplicate_of FROM articles WHERE duplicate_of IS NOT NULL AND id IN (", $ids, ")"
            ),
            forget: concat!(
                "UPDATE articles SET duplicate_of = NULL WHERE duplicate_of IS NOT NULL AND id IN (", $ids, ")"
            ),
            same_url: concat!(
                "SELECT x.id, y.id FROM articles x JOIN articles y ON y.url_hash = x.url_hash AND y.source <> x.source AND ",
                not_personal!("y.source"), " WHERE x.id IN (", $ids, ")"
            ),
            candidates: $candidates,
            groups: concat!(
                "WITH shown AS (SELECT DISTINCT coalesce(t.duplicate_of, t.id) AS id FROM articles t WHERE t.id IN (", $ids, ")) ",
                "SELECT a.id, a.published_at, a.duplicate_of FROM shown JOIN articles a ON a.id = shown.id ",
                "UNION ALL ",
                "SELECT a.id, a.published_at, a.duplicate_of FROM shown JOIN articles a ON a.duplicate_of = shown.id"
            ),
            point: concat!(
                "UPDATE articles SET duplicate_of = i.duplicate_of FROM ", $links, " WHERE articles.id = i.id"
            ),
            touch: concat!("UPDATE articles SET updated_at = $2 WHERE updated_at < $2 AND id IN (", $ids, ")"),
            others: concat!(
                "SELECT m.id, m.published_at FROM articles x JOIN articles m ON m.id = x.duplicate_of ",
                "WHERE x.id IN (", $ids, ") AND ", not_personal!("x.source"), " UNION ",
                "SELECT m.id, m.published_at FROM articles x JOIN articles m ON m.duplicate_of = coalesce(x.duplicate_of, x.id) ",
                "AND m.id <> x.id WHERE x.id IN (", $ids, ") AND ", not_personal!("x.source"), " ORDER BY 2, 1 LIMIT $2"
            ),
        }
    };
}

fn statements(dialect: Dialect) -> &'static Statements {
    static POSTGRES: Statements = statements! {
        ids: "SELECT CAST(jsonb_array_elements_text(CAST($1 AS jsonb)) AS bigint)",
        // Fenced off (`OFFSET 0`) with what the index of words answers: else all articles of these days are walked through as well,
        // users' own among them.
        candidates: concat!("SELECT i.id AS of_id, c.id, c.source, c.outlet, c.headline, c.published_at \
            FROM jsonb_to_recordset(CAST($1 AS jsonb)) AS i (id bigint, query text, since timestamptz, until timestamptz, \
                first_week integer, last_week integer) \
            CROSS JOIN LATERAL ( \
                SELECT a.id, a.source, a.outlet, a.headline, a.published_at \
                FROM generate_series(i.first_week, i.last_week) AS w (week) \
                CROSS JOIN LATERAL ( \
                    SELECT n.id, n.source, n.outlet, n.headline, n.published_at FROM (SELECT o.* FROM articles o \
                        WHERE o.search @@ to_tsquery('english', i.query) AND o.week = w.week \
                        AND ", not_personal!("o.source"), " OFFSET 0) n \
                    WHERE n.id <> i.id AND n.duplicate_of IS NULL AND n.headline IS NOT NULL \
                    AND n.published_at BETWEEN i.since AND i.until ORDER BY n.published_at, n.id LIMIT $2) a \
                LIMIT $2) c"),
        links: "jsonb_to_recordset(CAST($1 AS jsonb)) AS i (id bigint, duplicate_of bigint)",
    };
    static SQLITE: Statements = statements! {
        ids: "SELECT value FROM json_each($1)",
        candidates: concat!("SELECT of_id, id, source, outlet, headline, published_at FROM ( \
                SELECT i.value ->> 'id' AS of_id, n.id, n.source, n.outlet, n.headline, n.published_at, \
                row_number() OVER (PARTITION BY i.key ORDER BY n.published_at, n.id) AS place \
                FROM json_each($1) i CROSS JOIN articles_search s ON s.articles_search MATCH (i.value ->> 'query') \
                CROSS JOIN articles n ON n.id = s.rowid \
                WHERE n.id <> i.value ->> 'id' AND n.duplicate_of IS NULL AND n.headline IS NOT NULL \
                AND n.published_at BETWEEN i.value ->> 'since' AND i.value ->> 'until' AND ", not_personal!("n.source"), ") \
            WHERE place <= $2"),
        links: "(SELECT value ->> 'id' AS id, value ->> 'duplicate_of' AS duplicate_of FROM json_each($1)) AS i",
    };
    match dialect {
        Dialect::Postgres => &POSTGRES,
        Dialect::Sqlite => &SQLITE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(pointing: &[(i64, Option<i64>)]) -> Vec<GroupMember> {
        let member = |(id, duplicate_of): &(i64, Option<i64>)| GroupMember {
            id: *id,
            published_at: DateTime::UNIX_EPOCH + chrono::TimeDelta::minutes(*id),
            duplicate_of: *duplicate_of,
        };
        pointing.iter().map(member).collect()
    }

    fn joined(id: i64, shown: i64) -> Link {
        let duplicate_of = Some(shown);
        Link { id, duplicate_of }
    }

    #[test]
    fn all_of_a_story_are_shown_otherwise_when_one_joins_or_leaves_it() {
        let star = [(1, None), (2, Some(1)), (3, Some(1)), (9, None)];
        let affected = |before: &[(i64, i64)], links: &[Link]| {
            let affected = affected(before, &members(&star), links);
            affected.into_iter().collect::<Vec<i64>>()
        };
        assert_eq!(affected(&[], &[]), [0; 0]);
        assert_eq!(affected(&[], &[joined(9, 1)]), [1, 2, 3, 9]);
        // It pointed at the first one, and no longer does, or does again.
        assert_eq!(affected(&[(9, 1)], &[]), [1, 2, 3, 9]);
        assert_eq!(affected(&[(9, 1)], &[joined(9, 1)]), [0; 0]);
    }

    #[test]
    fn who_joins_a_long_story_late_changes_nobody_else() {
        let star: Vec<_> = (1..=20).map(|id| (id, (id > 1).then_some(1))).collect();
        // Ten others are shown, the earliest: the eleventh of all only with those before it.
        for (seconds, expected) in [(1, 0), (-59, 10), (-119, 20)] {
            let mut members = members(&[star.clone(), vec![(30, None)]].concat());
            if let Some(new) = members.last_mut() {
                let earliest = DateTime::UNIX_EPOCH + chrono::TimeDelta::minutes(11);
                new.published_at = earliest + chrono::TimeDelta::seconds(seconds);
            }
            let mut affected = affected(&[], &members, &[joined(30, 1)]);
            assert!(affected.remove(&30));
            assert_eq!(affected.len(), expected, "{seconds}");
        }
    }

    #[test]
    fn the_index_is_asked_for_pairs_of_the_longest_words() {
        let words = ["longest", "longer", "long"];
        assert_eq!(
            query(&words, Dialect::Postgres).as_deref(),
            Some("('longest':A & 'longer':A) | ('longest':A & 'long':A) | ('longer':A & 'long':A)")
        );
        assert_eq!(
            query(&["one"], Dialect::Sqlite).as_deref(),
            Some("title : (\"one\")")
        );
        assert_eq!(query(&[], Dialect::Sqlite), None);
    }
}
