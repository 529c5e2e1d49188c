//! The client against honest and lying services, all in one process and exactly repeatable: time stands still but for a
//! microsecond a round.

use baton_demos::board::Scoreboard;
use baton_demos::client::{BULK_BYTES, Client, PIECE_BYTES, Plan, RESULT_BYTES};
use baton_demos::corpus::Document;
use baton_demos::expected::Expected;
use baton_demos::index::IndexService;
use baton_demos::report::{Results, Summary};
use baton_demos::services::{
    BoardClient, BoardServer, Counts, Found, Got, Index, IndexClient, IndexServer, Kv, KvClient,
    KvServer, Phase, Put, Quote,
};
use baton_demos::store::Store;
use baton_demos::words::Word;
use baton_inbox::InSlot;
use baton_inprocess::{Address, Clock, InProcess, Sizes, connect, node};
use baton_rpc::{BulkIn, BulkOut, Config, Node};
use baton_trace::Ring;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

type Here = InProcess<InSlot>;

const CLIENTS: u32 = 2;
const OUTSTANDING: u32 = 16;

/// What a service gets wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lie {
    None,
    /// One bit of a text that is got.
    Text,
    /// The number of entries.
    Count,
    /// The first posting of a word.
    Posting,
    /// Whether a removed key was there.
    Removed,
}

/// A store, or what pretends to be one.
struct Liar(Store, Lie);

impl Kv for Liar {
    async fn put(&self, space: u32, key_bytes: u32, entry: BulkIn) -> Put {
        Kv::put(&self.0, space, key_bytes, entry).await
    }

    async fn get(&self, space: u32, key: BulkIn, mut value: BulkOut) -> (Got, BulkOut) {
        if self.1 != Lie::Text {
            return Kv::get(&self.0, space, key, value).await;
        }
        let mut text = self.0.get(space, &key.to_vec(), |v| v.unwrap().to_vec());
        text[0] ^= 1;
        value.write(&text).unwrap();
        (Got::Value, value)
    }

    async fn remove(&self, space: u32, key: BulkIn) -> Option<u32> {
        let removed = Kv::remove(&self.0, space, key).await;
        removed.filter(|_| self.1 != Lie::Removed)
    }

    async fn count(&self, space: u32) -> Counts {
        let mut counts = Kv::count(&self.0, space).await;
        counts.entries += u64::from(self.1 == Lie::Count);
        counts
    }
}

/// An index, or what pretends to be one.
struct Forgetful(IndexService<Here>, Lie);

impl Index for Forgetful {
    async fn append(&self, space: u32, piece: u32, key_bytes: u32, entry: BulkIn) -> Option<u32> {
        self.0.append(space, piece, key_bytes, entry).await
    }

    async fn find(&self, space: u32, place: u32, word: Word, pieces: BulkOut) -> (Found, BulkOut) {
        let skipped = u32::from(self.1 == Lie::Posting);
        self.0.find(space, place + skipped, word, pieces).await
    }

    async fn find_all(
        &self,
        space: u32,
        place: u32,
        words: BulkIn,
        pieces: BulkOut,
    ) -> (Found, BulkOut) {
        self.0.find_all(space, place, words, pieces).await
    }

    async fn quote(&self, space: u32, words: BulkIn, text: BulkOut) -> (Quote, BulkOut) {
        self.0.quote(space, words, text).await
    }
}

fn documents(client: u32) -> Vec<Document> {
    // Long enough for several pieces, and common words for lists that take more than one answer.
    let contents = |seed: u32| {
        let words = (0..4000).map(|n: u32| format!("common word{} w{client}", (n * seed) % 997));
        words.collect::<Vec<_>>().join(" ").into_bytes()
    };
    let text = |seed| Document {
        path: format!("text/{seed}"),
        contents: contents(seed),
    };
    let rule = Document {
        path: "text/without-words".to_owned(),
        contents: vec![b'='; PIECE_BYTES],
    };
    (1..=3).map(text).chain([rule]).collect()
}

/// Runs all phases and returns what the board gathered.
fn run(lie: Lie, bulk_bytes: u32) -> Summary {
    let now_ns = Arc::new(Mutex::new(0));
    let new_node = || {
        let clock = Clock::Manual(now_ns.clone());
        node::<InSlot>(Config::default(), clock, Arc::new(Ring::new(16)))
    };
    let sizes = |credits, request_bulk_bytes, answer_bulk_bytes| Sizes {
        credits,
        back_credits: 0,
        request_bulk_bytes,
        answer_bulk_bytes,
    };
    let (store, at_store) = new_node();
    let (index, at_index) = new_node();
    let (board, at_board) = new_node();
    let liar = Rc::new(KvServer(Liar(Store::default(), lie)));
    let text_sizes = sizes(OUTSTANDING, BULK_BYTES, bulk_bytes);
    let for_index = connect(
        (&index, &at_index),
        (&store, &at_store),
        sizes(4, BULK_BYTES, BULK_BYTES),
        liar.clone(),
    );
    let served = IndexService::new(KvClient::new(for_index.unwrap()));
    let forgetful = Rc::new(IndexServer(Forgetful(served, lie)));
    let scoreboard = Rc::new(BoardServer(Scoreboard::<Summary>::new(CLIENTS)));

    let client = |number| -> (Node<Here>, Address, _) {
        let (own, at_own) = new_node();
        let from = (&own, &at_own);
        let kv = connect(from, (&store, &at_store), text_sizes, liar.clone());
        let lookups = connect(from, (&index, &at_index), text_sizes, forgetful.clone());
        let reports = connect(
            from,
            (&board, &at_board),
            sizes(4, RESULT_BYTES, 0),
            scoreboard.clone(),
        );
        let client = Rc::new(Client {
            number,
            handle: own.executor().clone(),
            kv: KvClient::new(kv.unwrap()),
            index: IndexClient::new(lookups.unwrap()),
            board: BoardClient::new(reports.unwrap()),
            expected: Expected::new(&documents(number), PIECE_BYTES),
            plan: Plan {
                outstanding: OUTSTANDING as usize,
                phase_ns: 100_000,
            },
        });
        let done = own.executor().spawn(client.run::<Results>()).unwrap();
        (own, at_own, done)
    };
    let clients: Vec<_> = (0..CLIENTS).map(client).collect();
    while clients.iter().any(|(_, _, done)| !done.is_finished()) {
        *now_ns.lock().unwrap() += 1000;
        let servers = [&store, &index, &board];
        for node in servers
            .into_iter()
            .chain(clients.iter().map(|(node, _, _)| node))
        {
            node.turn().unwrap();
        }
    }
    for (_, _, done) in &clients {
        assert_eq!(done.try_take(), Some(Ok(Ok(()))));
    }
    scoreboard.0.summary().clone()
}

/// The phases with wrong answers.
fn wrong_in(summary: &Summary) -> Vec<Phase> {
    let phases = summary.phases.iter();
    let wrong = phases.filter(|(_, results)| results.wrong > 0);
    wrong.map(|(phase, _)| *phase).collect()
}

#[test]
fn honest_services_pass_every_phase() {
    let summary = run(Lie::None, BULK_BYTES);
    assert_eq!(wrong_in(&summary), []);
    assert!(summary.phases.keys().copied().eq(Phase::WORK));
    let pieces: u64 = (0..CLIENTS)
        .map(|client| Expected::new(&documents(client), PIECE_BYTES).len() as u64)
        .sum();
    let requests = |phase| summary.phases[&phase].requests;
    assert_eq!(requests(Phase::Load), pieces);
    assert_eq!(requests(Phase::Read), pieces);
    // And one look at what is left, each.
    assert_eq!(requests(Phase::Remove), pieces + u64::from(CLIENTS));
    assert!(requests(Phase::Quote) > u64::from(OUTSTANDING));
}

#[test]
fn long_lists_come_in_parts() {
    // Three postings an answer: too little for a text, enough to find every part of a list.
    let summary = run(Lie::None, 12);
    let wrong = |phase| summary.phases[&phase].wrong;
    assert_eq!((wrong(Phase::Find), wrong(Phase::FindAll)), (0, 0));
    assert_eq!(wrong(Phase::Read), summary.phases[&Phase::Read].requests);
}

#[test]
fn a_flipped_bit_in_a_text_is_noticed() {
    let summary = run(Lie::Text, BULK_BYTES);
    assert_eq!(wrong_in(&summary), [Phase::Read, Phase::Quote]);
    assert!(summary.to_string().contains("wrong in read: get text/"));
}

#[test]
fn a_wrong_count_is_noticed() {
    let summary = run(Lie::Count, BULK_BYTES);
    assert_eq!(wrong_in(&summary), [Phase::Count, Phase::Remove]);
}

#[test]
fn a_lost_posting_is_noticed() {
    assert_eq!(wrong_in(&run(Lie::Posting, BULK_BYTES)), [Phase::Find]);
}

#[test]
fn a_lie_about_removing_is_noticed() {
    assert_eq!(wrong_in(&run(Lie::Removed, BULK_BYTES)), [Phase::Remove]);
}
