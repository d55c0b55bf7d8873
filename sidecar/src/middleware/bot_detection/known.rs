//! The crawlers that are known by name, and the words by which others give themselves away.
//!
//! What Kong's list of expressions comes to, as plain names: looking for a few hundred names at once is a matter of
//! their first letters, and faster than any expression.

use std::sync::LazyLock;

/// What has to follow a name.
#[derive(Clone, Copy)]
enum Then {
    Anything,
    /// `/7`
    Version,
    /// ` 7`, `-7`
    Number,
    /// A letter, a digit or `_`.
    Word,
}

/// Names that are enough wherever they stand.
const NAMES: &[&str] = &[
    "/+/web/snippet",
    "1470.net crawler",
    "50.nu",
    "8bo Crawler Bot",
    "ASPSeek",
    "Aboundex",
    "Accoona-",
    "AdsBot-Google",
    "AppEngine-Google",
    "Ask Jeeves",
    "BUbiNG",
    "BingPreview",
    "BlogBridge",
    "Bloglovin",
    "BoardReader",
    "BotSeer",
    "CRAWL-E",
    "Catchpoint",
    "Charlotte",
    "Checklinks",
    "Comodo HTTP(S) Crawler",
    "Comodo-Webinspector-Crawler",
    "ConveraCrawler",
    "CrawlConvera",
    "CrawlDaddy",
    "CrawlFire",
    "Daumoa",
    "Feed Seeker Bot",
    "Feedbin",
    "Finderbots",
    "Flamingo_SearchEngine",
    "Genieo",
    "GomezAgent",
    "Google SketchUp",
    "Googlebot",
    "HiddenMarket",
    "HooWWWer",
    "ICC-Crawler",
    "Icarus6j",
    "IconSurf",
    "IlTrovatore",
    "InfuzApp",
    "InternetArchive",
    "Job Roboter",
    "Kraken",
    "Kurzor",
    "LEIA",
    "LinkAider",
    "Llaut",
    "Mediapartners-Google",
    "Mtps Feed Aggregation System",
    "Netvibes",
    "NewsGator",
    "Nutch",
    "Nymesis",
    "OOZBOT",
    "ObjectsSearch",
    "OgScrper",
    "Orbiter",
    "PagePeeker",
    "PagesInventory",
    "PaxleFramework",
    "PlantyNet_WebRobot",
    "Pompos",
    "Qwantify",
    "Read%20Later",
    "Reaper",
    "RedCarpet",
    "Retreiver",
    "Riddler",
    "Rival IQ",
    "SEOstats",
    "Scrapy",
    "Scrubby",
    "SimplePie",
    "SimpleRSS",
    "Simpy",
    "SiteCon",
    "Slack-ImgProxy",
    "Slurp",
    "Squrl Java",
    "Stringer",
    "Thumbshots.ru",
    "Tiny Tiny RSS",
    "URL2PNG",
    "Vagabondo",
    "WIRE",
    "WeSEE:",
    "Web-sniffer",
    "WebThumb",
    "WhatWeb",
    "WhatsApp",
    "WordPress",
    "Wotbox",
    "Xenu Link Sleuth",
    "Xenu's Link Sleuth",
    "YahooSeeker",
    "Yeti",
    "YottaaMonitor",
    "Yowedo",
    "ZeBot_www.ze.bz",
    "ZooShot",
    "ZyBorg",
    "altavista",
    "archiver",
    "bingbot",
    "blitzbot",
    "boitho.com-dc",
    "charlotte",
    "clumboot",
    "favicon",
    "findlinks",
    "furlbot",
    "gigabot",
    "gonzo1",
    "grub-client",
    "gsa-crawler",
    "heritrix",
    "holmes",
    "htdig",
    "ia_archiver",
    "ichiro",
    "jbot",
    "larbin",
    "lycos",
    "masidani_bot",
    "masscan",
    "mogimogi",
    "mozDex",
    "msnbot",
    "msrbot",
    "netresearch",
    "scooter",
    "searchsight",
    "seekbot",
    "semanticdiscovery",
    "snappy",
    "www.almaden.ibm.com",
    "yacy",
];

/// Names of libraries. Ordinary programs use them too, and are let in by `allow`.
const LIBRARIES: &[&str] = &[
    "Apache-HttpClient",
    "Go-http-client",
    "Google-HTTP-Java-Client",
    "HttpMonitor",
    "JNLP",
    "Python-urllib",
    "TLSProber",
    "WinHTTP",
    "axios",
    "http%20client",
    "okhttp",
    "reqwest",
    "scalaj-http",
    "unirest-java",
    "unirest-net",
    "unirest-nodejs",
    "unirest-php",
    "unirest-python",
    "unirest-ruby",
];

/// Names that are common words without a version behind them.
const VERSIONED: &[&str] = &[
    "008",
    "Altresium",
    "Argus",
    "BaiduMobaider",
    "DNSGroup",
    "DataparkSearch",
    "EDI",
    "Goodzer",
    "Grub",
    "INGRID",
    "Infohelfer",
    "LOOQ",
    "PathDefender",
    "Peew",
    "PostPost",
    "Steeler",
    "VSE",
    "WebCrunch",
    "WebZIP",
    "envolk",
    "facebookexternalhit",
    "sproose",
    "wminer",
];

/// Names behind a slash, with a number.
const NUMBERED: &[&str] = &["/Axtaris", "/Isara", "/ShopSalad", "/Tailsweep", "/fetchurl"];

/// Names that count only at the beginning.
const FIRST: &[&[u8]] = &[b"NING", b"Zao", b"vortex", b"voyager"];

/// What begins with a byte.
type Names = Vec<(&'static [u8], Then)>;

static BY_FIRST: LazyLock<Box<[Names]>> = LazyLock::new(|| {
    let mut all = vec![Names::new(); 256];
    let lists = [
        (NAMES, Then::Anything),
        (LIBRARIES, Then::Anything),
        (VERSIONED, Then::Version),
        (NUMBERED, Then::Number),
        (&["Yandex"][..], Then::Word),
    ];
    for (names, then) in lists {
        for name in names {
            if let Some(list) = name.bytes().next().and_then(|first| all.get_mut(usize::from(first))) {
                list.push((name.as_bytes(), then));
            }
        }
    }
    all.into()
});

impl Then {
    fn holds(self, after: &[u8]) -> bool {
        let digit = |at: usize| after.get(at).is_some_and(u8::is_ascii_digit);
        match (self, after.first()) {
            (Then::Anything, _) => true,
            (Then::Version, first) => first == Some(&b'/') && digit(1),
            (Then::Number, first) => matches!(first, Some(b' ' | b'-')) && digit(1),
            (Then::Word, first) => first.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_'),
        }
    }
}

/// Whether an agent is a crawler by what it calls itself.
pub(super) fn is_bot(agent: &[u8]) -> bool {
    let by_first = &*BY_FIRST;
    FIRST.iter().any(|name| agent.starts_with(name))
        || (0..agent.len()).any(|at| {
            let (before, rest) = agent.split_at(at);
            let named = |(name, then): &(&[u8], Then)| rest.strip_prefix(*name).is_some_and(|after| then.holds(after));
            let first = rest.first().copied().unwrap_or_default();
            by_first.get(usize::from(first)).is_some_and(|names| names.iter().any(named)) || has_word(before, rest)
        })
}

/// Whether a word of the trade stands here.
fn has_word(before: &[u8], rest: &[u8]) -> bool {
    let any_case = |word: &[u8]| rest.get(..word.len()).is_some_and(|found| found.eq_ignore_ascii_case(word));
    // With a small or a large first letter.
    let word = |word: &[u8]| any_case(word) && rest.get(1..word.len()) == word.get(1..);
    let versioned = |word: &[u8]| {
        let after = rest.get(word.len()..).unwrap_or_default();
        matches!(after.first(), Some(b'/' | b' ')) && after.get(1).is_some_and(u8::is_ascii_digit)
    };
    match rest.first() {
        Some(b's' | b'S') => any_case(b"spider") || word(b"scrape"),
        Some(b'c' | b'C') => any_case(b"crawl"),
        Some(b'a' | b'A') => word(b"archiver") && versioned(b"archiver"),
        Some(b'i' | b'I') => word(b"indexer") && versioned(b"indexer"),
        // Cubot makes telephones.
        Some(b'b' | b'B') if word(b"bot") => match before {
            [.., first, second] if *first != b'C' && !matches!(second, b'u' | b'U') => true,
            _ => versioned(b"bot"),
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::is_bot;

    #[test]
    fn bots_are_known() {
        for agent in [
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            "Pingdom.com_bot_version_1.4_(http://www.pingdom.com/)",
            "Twitterbot/1.0",
            "Mozilla/5.0 (Windows NT 6.1; rv:6.0) Gecko/20110814 Firefox/6.0 Google (+https://developers.google.com/+/web/snippet/)",
            "Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.0; Trident/4.0; MSIECrawler)",
            "008/0.83 (http://www.80legs.com/webcrawler.html)",
            "EDI/1.6.5 (Edacious & Intelligent Web Robot)",
            "Mozilla/5.0 (compatible; YandexBot/3.0)",
            "YandexImages/3",
            "msnbot-media /1.0",
            "Baiduspider+(+http://www.baidu.com/search/spider.htm)",
            "SomeSpider",
            "web SPIDER",
            "MyScraper",
            "CRAWLER",
            "Indexer/1",
            "My archiver 2",
            "Bot/1",
            "xx/Isara-1.0",
            "Zao/0.2",
            "voyager/1.0",
            "Cubot/3",
            "Python-urllib/3.12",
            "Apache-HttpClient/4.5.13 (Java/11)",
            "Go-http-client/1.1",
            "okhttp/4.12.0",
            "axios/1.7.2",
            "reqwest/0.12",
        ] {
            assert!(is_bot(agent.as_bytes()), "{agent}");
        }
    }

    #[test]
    fn others_are_not() {
        for agent in [
            "",
            "curl/7.43.0",
            "Wget/1.21",
            "python-requests/2.32.3",
            "GuzzleHttp/7",
            "PHP/8.3",
            "Fourmi/0.1",
            "bot",
            "abot",
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
            "Mozilla/5.0 (Linux; Android 9; CUBOT_P30) AppleWebKit/537.36",
            "Mozilla/5.0 (Linux; Android 9; Cubot X) AppleWebKit/537.36",
            "Yandex",
            "a NING b",
            "EDI",
            "EDI/x",
            "Isara-1",
            "indexer",
            "\u{fffd}é",
        ] {
            assert!(!is_bot(agent.as_bytes()), "{agent}");
        }
        assert!(!is_bot(&[b's'; 100_000]));
    }
}
