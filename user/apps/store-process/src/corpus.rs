//! The corpus: this repository's own pages, and text that is generated where more is wanted.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use baton_kv::expected::Document;
use baton_runtime::Random;

/// Pages of the repository, which are real text.
const PAGES: [(&str, &str); 8] = [
    ("README.md", include_str!("../../../../README.md")),
    ("docs/kernel.md", include_str!("../../../../docs/kernel.md")),
    (
        "docs/soundness.md",
        include_str!("../../../../docs/soundness.md"),
    ),
    (
        "docs/one-request.md",
        include_str!("../../../../docs/one-request.md"),
    ),
    (
        "docs/kernel-tests.md",
        include_str!("../../../../docs/kernel-tests.md"),
    ),
    ("docs/STATUS.md", include_str!("../../../../docs/STATUS.md")),
    (
        "CONTRIBUTING.md",
        include_str!("../../../../CONTRIBUTING.md"),
    ),
    ("LICENSE-APACHE", include_str!("../../../../LICENSE-APACHE")),
];

/// Bytes of generated text of each client.
const GENERATED_BYTES: usize = 400_000;
/// Bytes of one generated document.
const DOCUMENT_BYTES: usize = 40_000;

/// One share of so many: of the pages, and of the generated text.
pub fn share(number: u64, shares: u64) -> Vec<Document> {
    let pages = PAGES.iter().skip(number as usize).step_by(shares as usize);
    let mut documents: Vec<Document> = pages
        .map(|(path, text)| Document {
            path: (*path).to_owned(),
            contents: text.as_bytes().to_vec(),
        })
        .collect();
    let mut random = Random::new(number);
    for document in 0..GENERATED_BYTES / DOCUMENT_BYTES {
        documents.push(Document {
            path: format!("generated/{number}/{document}"),
            contents: generated(&mut random).into_bytes(),
        });
    }
    documents
}

/// Sentences of made-up words, of which a few are frequent and many are rare, as in real text.
fn generated(random: &mut Random) -> String {
    const SYLLABLES: [&str; 16] = [
        "ba", "ton", "ker", "nel", "in", "box", "lane", "slot", "tok", "en", "cre", "dit", "wak",
        "er", "task", "ring",
    ];
    let mut next = || random.next();
    let mut text = String::new();
    while text.len() < DOCUMENT_BYTES {
        // The smaller of several numbers is often small.
        let word = next() % 4096;
        let mut rest = word.min(next() % 4096).min(next() % 4096) + 16;
        while rest != 0 {
            text.push_str(SYLLABLES[(rest % 16) as usize]);
            rest /= 16;
        }
        text.push(if next().is_multiple_of(12) { '\n' } else { ' ' });
    }
    text
}
