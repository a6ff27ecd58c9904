//! What a stored batch makes out of date. Pure.
//!
//! The first answer to a question is a case of its own: whoever asks for a list that needs it has waited for it, so no list of
//! that kind can have been made before; and the one that is being made of it right now must not be voided as it leaves. Unless the
//! answer tells stories that other articles tell too: these stand in lists that were made before.
//!
//! What is one person's own is in no answer that a cache keeps: it makes nothing out of date, and nothing shown has changed.

use super::Answer;
use crate::article::Category;
use crate::personal::is_personal;
use crate::tag::Tag;
use std::collections::BTreeSet;

/// What came of storing an answer.
#[derive(Debug)]
pub(super) struct Change<'a> {
    pub(super) answer: &'a Answer<'a>,
    /// Whether the question was never asked before.
    pub(super) first: bool,
    /// How it went the last time.
    pub(super) before: Option<&'a str>,
    /// Articles that are new or changed.
    pub(super) written: &'a [i64],
    /// Articles that stand under a further category.
    pub(super) moved: &'a [i64],
    /// Articles, perhaps of other sources, whose duplicates are others now, or that became one or cease to be one.
    pub(super) relinked: &'a [i64],
}

impl Change<'_> {
    /// Whether all readers can see it.
    pub(super) fn is_shown(&self) -> bool {
        if is_personal(self.answer.source) {
            return false;
        }
        self.has_articles() || self.first || self.before != Some(self.answer.outcome)
    }

    /// The tags of the answers that it makes out of date.
    pub(super) fn outdated(&self) -> BTreeSet<Tag> {
        let mut tags = BTreeSet::new();
        if is_personal(self.answer.source) {
            return tags;
        }
        if self.has_articles() {
            // The list that is being made of a first answer shows them: it must not go with them.
            let named = if self.first { Tag::page } else { Tag::article };
            let articles = self.written.iter().chain(self.moved);
            tags.extend(articles.map(|id| named(*id)));
            tags.extend(self.relinked_elsewhere().map(Tag::article));
            tags.extend([Tag::search(), Tag::sources()]);
        }
        if self.first {
            // An article may stand under several categories, now or from an earlier batch.
            tags.extend(self.other_lists().filter(|_| self.has_articles()));
            // Some may be shown now where they were hidden: those lists don't bear their names.
            let elsewhere = self.relinked_elsewhere().next();
            tags.extend(elsewhere.map(|_| Tag::list()));
        } else if self.has_articles() || self.is_back() {
            tags.extend([Tag::list(), Tag::source(self.answer.source)]);
        }
        tags
    }

    fn has_articles(&self) -> bool {
        !self.written.is_empty() || !self.moved.is_empty() || !self.relinked.is_empty()
    }

    /// The relinked ones that were stored before.
    fn relinked_elsewhere(&self) -> impl Iterator<Item = i64> {
        let relinked = self.relinked.iter().copied();
        relinked.filter(|id| !self.written.contains(id))
    }

    /// The note that the source failed no longer holds. Its coming is not worth voiding what is good.
    fn is_back(&self) -> bool {
        self.before.is_some_and(is_failure) && !is_failure(self.answer.outcome)
    }

    /// Lists for which another question is asked. A source that knows no categories has but one question.
    fn other_lists(&self) -> impl Iterator<Item = Tag> {
        let (own, narrows) = (self.answer.category, self.answer.by_category);
        let kinds = std::iter::once(None).chain(Category::ALL.into_iter().map(Some));
        kinds
            .filter(move |kind| narrows && *kind != own)
            .map(Tag::category)
    }
}

fn is_failure(outcome: &str) -> bool {
    !matches!(outcome, "ok" | "empty")
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;

    fn answer(category: Option<Category>, by_category: bool, outcome: &str) -> Answer<'_> {
        Answer {
            source: "a",
            category,
            by_category,
            outcome,
            articles: &[],
            asked_at: DateTime::UNIX_EPOCH,
            stored_at: DateTime::UNIX_EPOCH,
            ask_again_at: DateTime::UNIX_EPOCH,
        }
    }

    fn again<'a>(answer: &'a Answer<'a>, before: &'a str, written: &'a [i64]) -> Change<'a> {
        Change {
            answer,
            first: false,
            before: Some(before),
            written,
            moved: &[],
            relinked: &[],
        }
    }

    #[test]
    fn a_new_article_voids_every_list() {
        let answer = answer(None, true, "ok");
        let change = again(&answer, "ok", &[7]);
        let expected = [
            Tag::article(7),
            Tag::search(),
            Tag::sources(),
            Tag::list(),
            Tag::source("a"),
        ];
        assert_eq!(change.outdated(), expected.into());
        assert!(change.is_shown());
    }

    #[test]
    fn what_is_somebodys_own_voids_nothing() {
        let own = Answer {
            source: "user-feed:0f",
            ..answer(None, false, "ok")
        };
        for (first, before) in [(true, None), (false, Some("timeout")), (false, Some("ok"))] {
            let change = Change {
                answer: &own,
                first,
                before,
                written: &[7],
                moved: &[8],
                relinked: &[9],
            };
            assert_eq!(change.outdated(), BTreeSet::new());
            assert!(!change.is_shown());
        }
    }

    #[test]
    fn nothing_new_voids_nothing() {
        let answer = answer(None, true, "empty");
        let change = again(&answer, "empty", &[]);
        assert_eq!(change.outdated(), BTreeSet::new());
        assert!(!change.is_shown());
    }

    #[test]
    fn a_failure_is_told_when_it_ends_but_voids_nothing_when_it_begins() {
        let failed = answer(None, true, "timeout");
        assert_eq!(again(&failed, "ok", &[]).outdated(), BTreeSet::new());
        assert!(again(&failed, "ok", &[]).is_shown());
        let well = answer(None, true, "empty");
        let back = again(&well, "timeout", &[]).outdated();
        assert_eq!(back, [Tag::list(), Tag::source("a")].into());
    }

    #[test]
    fn the_first_answer_leaves_the_list_that_is_made_of_it() {
        let sports = Some(Category::Sports);
        let answer = answer(sports, true, "ok");
        let change = Change {
            first: true,
            ..again(&answer, "ok", &[7])
        };
        let tags = change.outdated();
        assert!(!tags.contains(&Tag::category(sports)) && !tags.contains(&Tag::list()));
        assert!(!tags.contains(&Tag::source("a")));
        for other in [None, Some(Category::World)] {
            assert!(tags.contains(&Tag::category(other)), "{other:?}");
        }
        assert!(tags.contains(&Tag::page(7)) && tags.contains(&Tag::search()));
        assert!(!tags.contains(&Tag::article(7)));
    }

    #[test]
    fn a_first_answer_that_tells_an_old_story_voids_what_shows_that_story() {
        let answer = answer(None, false, "ok");
        let change = Change {
            first: true,
            relinked: &[3, 7],
            ..again(&answer, "ok", &[7])
        };
        let expected = [
            Tag::page(7),
            Tag::article(3),
            Tag::list(),
            Tag::search(),
            Tag::sources(),
        ];
        assert_eq!(change.outdated(), expected.into());
    }

    #[test]
    fn the_first_answer_of_a_source_with_one_question_leaves_all_lists() {
        let answer = answer(None, false, "ok");
        let change = Change {
            first: true,
            ..again(&answer, "ok", &[7])
        };
        let expected = [Tag::page(7), Tag::search(), Tag::sources()];
        assert_eq!(change.outdated(), expected.into());
    }
}
