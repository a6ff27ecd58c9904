//! Words that several sources need read: categories in feeds' own terms, and outlets' names behind titles.

use crate::article::Category;
use url::Url;

/// How often an outlet's name is taken off one title: twice is seen, and each time costs a look at the whole title.
const OUTLETS_MAX: usize = 4;

/// The category a source's term stands for, when it surely stands for one.
fn category(term: &str) -> Option<Category> {
    Some(match term {
        "business" | "economy" | "economics" | "economic" | "finance" | "financial" | "money"
        | "market" | "markets" | "companies" | "stocks" | "banking" | "trade" | "investing"
        | "personal finance" | "wirtschaft" | "economia" | "economía" | "économie" => {
            Category::Business
        }
        "entertainment" | "arts" | "art" | "culture" | "film" | "films" | "movies" | "movie"
        | "music" | "tv" | "television" | "books" | "celebrity" | "games" | "gaming"
        | "theatre" | "theater" | "stage" | "kultur" | "cultura" => Category::Entertainment,
        "health" | "medicine" | "medical" | "wellness" | "wellbeing" | "fitness" | "nutrition"
        | "gesundheit" | "salud" | "santé" => Category::Health,
        "science" | "sciences" | "space" | "physics" | "biology" | "chemistry" | "astronomy"
        | "environment" | "climate" | "nature" | "research" | "wissenschaft" | "ciencia"
        | "wissen" => Category::Science,
        "sport" | "sports" | "football" | "soccer" | "cricket" | "tennis" | "rugby" | "golf"
        | "basketball" | "baseball" | "cycling" | "athletics" | "formula 1" | "olympics"
        | "deportes" => Category::Sports,
        "technology"
        | "tech"
        | "technologies"
        | "gadgets"
        | "software"
        | "programming"
        | "computing"
        | "computers"
        | "internet"
        | "ai"
        | "artificial intelligence"
        | "linux"
        | "open source"
        | "security"
        | "cybersecurity"
        | "developers"
        | "hardware"
        | "mobile"
        | "web"
        | "tecnologia"
        | "tecnología"
        | "technik" => Category::Technology,
        "world" | "international" | "global" | "foreign" | "europe" | "africa" | "asia"
        | "americas" | "middle east" | "asia pacific" | "latin america" | "world affairs"
        | "ausland" | "mundo" | "monde" => Category::World,
        "general" | "news" | "top stories" | "politics" | "national" | "local" | "latest"
        | "inland" => Category::General,
        _ => return None,
    })
}

/// The categories of an item's own terms. A term may name several ("Science & Environment", "tech/AI"), but only whole
/// names count: a "World Cup" is not world news.
pub(super) fn of_terms<'a>(terms: impl IntoIterator<Item = &'a str>) -> Vec<Category> {
    terms
        .into_iter()
        .flat_map(|term| {
            term.split(['/', '&', ',', '>', '|', ';', ':'])
                .flat_map(|part| part.split(" and "))
        })
        .filter_map(|part| {
            let part = part.trim().trim_start_matches('#').to_lowercase();
            category(&part).or_else(|| category(part.strip_suffix(" news")?))
        })
        .collect()
}

/// What a feed's address says of all its items: `/news/technology/rss.xml`, `tech.example.com`. The narrowest word wins,
/// which stands last in a path; `General` says nothing.
pub(super) fn of_address(url: &Url) -> Option<Category> {
    let path = url.path().to_lowercase();
    let host = url.host_str().unwrap_or_default().to_lowercase();
    let in_path = path.split(['/', '.', '-', '_']).rev().find_map(specific);
    in_path.or_else(|| host.split('.').find_map(specific))
}

/// What an item's own address says: whole directories (`/sport/cricket/...`), and a page that is named after its section
/// and a number (`/news/technology-59731621`). Other pages are named after their headline, which says nothing surely.
pub(super) fn of_link(link: &str) -> Option<Category> {
    let url = Url::parse(link.trim()).ok()?;
    let path = url.path().to_lowercase();
    let (directories, page) = path.rsplit_once('/')?;
    directories.split('/').find_map(specific).or_else(|| {
        let (section, number) = page.rsplit_once('-')?;
        let numbered = number.len() >= 5 && number.bytes().all(|digit| digit.is_ascii_digit());
        let words: Vec<&str> = section.split('-').collect();
        let first = words.first().filter(|_| numbered && words.len() <= 3)?;
        specific(first)
    })
}

fn specific(word: &str) -> Option<Category> {
    category(word).filter(|found| *found != Category::General)
}

/// The title without ` - Outlet` or ` | Outlet` behind it, which aggregators append, sometimes twice. Only what is one
/// of the `names` goes: a headline may well hold a dash of its own.
pub(super) fn without_outlet<'a>(title: &'a str, names: &[Option<&str>]) -> &'a str {
    let mut title = title.trim();
    for _ in 0..OUTLETS_MAX {
        let dashes = [" - ", " | ", " – ", " — "].into_iter();
        let split = dashes
            .filter_map(|dash| title.rsplit_once(dash))
            .min_by_key(|(_, suffix)| suffix.len());
        let Some((headline, suffix)) = split else {
            break;
        };
        let known = names.iter().flatten().any(|name| same_name(name, suffix));
        if !known || headline.trim().is_empty() {
            break;
        }
        title = headline.trim_end();
    }
    title
}

/// "KSL.com" signs as "KSL News", "The Washington Post" as "Washington Post": fillers don't count, unless they are all.
fn same_name(one: &str, other: &str) -> bool {
    let words = |name: &str| -> Vec<String> {
        let name = name.to_lowercase();
        name.split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let core = |words: &[String]| -> String {
        words
            .iter()
            .filter(|word| {
                !matches!(
                    word.as_str(),
                    "the" | "com" | "org" | "net" | "co" | "uk" | "www" | "news" | "online"
                )
            })
            .cloned()
            .collect()
    };
    let (one, other) = (words(one), words(other));
    let (one_core, other_core) = (core(&one), core(&other));
    if one_core.is_empty() || other_core.is_empty() {
        one == other && !one.is_empty()
    } else {
        one_core == other_core
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_map_as_whole_names_only() {
        let rows: [(&[&str], &[Category]); 9] = [
            (&["Technology"], &[Category::Technology]),
            (
                &["Science & Environment"],
                &[Category::Science, Category::Science],
            ),
            (
                &["Business/Markets"],
                &[Category::Business, Category::Business],
            ),
            (&["World news"], &[Category::World]),
            (
                &["Arts and Culture", "health"],
                &[
                    Category::Entertainment,
                    Category::Entertainment,
                    Category::Health,
                ],
            ),
            (&["World Cup"], &[]),
            (&["Opinion", ""], &[]),
            (&[" #Tech "], &[Category::Technology]),
            (&[], &[]),
        ];
        for (terms, expected) in rows {
            assert_eq!(of_terms(terms.iter().copied()), expected, "{terms:?}");
        }
    }

    #[test]
    fn an_address_tells_what_its_feed_is_about() {
        let rows = [
            (
                "https://feeds.example.com/news/technology/rss.xml",
                Some(Category::Technology),
            ),
            ("https://feeds.example.com/news/rss.xml", None),
            (
                "https://tech.example.com/index.xml",
                Some(Category::Technology),
            ),
            ("https://www.example.com/world/rss", Some(Category::World)),
            (
                "https://www.example.com/world/science-and-space.rss",
                Some(Category::Science),
            ),
            ("https://worldly.example.com/sporty", None),
        ];
        for (url, expected) in rows {
            assert_eq!(
                of_address(&Url::parse(url).expect("a URL")),
                expected,
                "{url}"
            );
        }
    }

    #[test]
    fn a_link_tells_by_its_directories_but_not_by_its_headline() {
        let rows = [
            (
                "https://example.com/sport/cricket/one-more-run",
                Some(Category::Sports),
            ),
            (
                "https://example.com/news/technology-59731621",
                Some(Category::Technology),
            ),
            (
                "https://example.com/news/world-asia-india-59731621",
                Some(Category::World),
            ),
            (
                "https://example.com/news/business-as-usual-in-town-59731621",
                None,
            ),
            ("https://example.com/news/science-42", None),
            ("https://example.com/2026/01/world-of-tomorrow", None),
            ("https://example.com/", None),
            ("not a link", None),
        ];
        for (link, expected) in rows {
            assert_eq!(of_link(link), expected, "{link}");
        }
    }

    #[test]
    fn a_title_of_nothing_but_outlets_costs_a_few_looks() {
        let begun = std::time::Instant::now();
        let title = format!("Story{}", " - Example".repeat(400_000));
        let left = without_outlet(&title, &[Some("Example")]);
        assert_eq!(left.len(), title.len() - OUTLETS_MAX * " - Example".len());
        assert!(begun.elapsed() < std::time::Duration::from_secs(10));
    }

    #[test]
    fn only_the_outlets_own_name_leaves_a_title() {
        let rows = [
            ("Story - The Example Post", "The Example Post", "Story"),
            ("Story - Example Post", "The Example Post", "Story"),
            (
                "Story - ESPN Example - ESPN Example",
                "ESPN Example",
                "Story",
            ),
            ("Story - Town News", "Town.com", "Story"),
            ("Story | Example ", "Example", "Story"),
            (
                "Mind the gap - a story",
                "Example",
                "Mind the gap - a story",
            ),
            ("Half-time - Example", "Example", "Half-time"),
            (" - Example", "Example", "- Example"),
            ("Example", "Example", "Example"),
            ("Story - News", "The", "Story - News"),
        ];
        for (title, outlet, expected) in rows {
            assert_eq!(
                without_outlet(title, &[None, Some(outlet)]),
                expected,
                "{title}"
            );
        }
    }
}
