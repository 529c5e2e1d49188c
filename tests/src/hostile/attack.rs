//! The ways to lie. Each attack goes on until its round is over; whoever is quarantined connects again.

use super::BULK_BYTES;
use super::pen::{Lane, Pen};
use crate::random::Random;
use baton_inbox::{Info, Kind, Token};

macro_rules! attacks {
    ($($(#[$doc:meta])* $attack:ident = $name:literal,)*) => {
        /// A way to lie.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub(super) enum Attack {
            $($(#[$doc])* $attack,)*
        }

        impl Attack {
            /// All of them.
            pub(super) const ALL: &'static [(Attack, &'static str)] =
                &[$((Attack::$attack, $name)),*];
        }
    };
}

attacks! {
    /// Any word anywhere.
    Scatter = "any word anywhere in the region",
    /// Messages as they should be: the ground on which the others work.
    Honest = "messages as they should be",
    /// A message in which one field is wrong.
    Mutated = "requests with one field wrong",
    /// CANCELs of anything.
    Cancels = "cancels of anything",
    /// Answers whose tokens nobody or somebody else waits for.
    ForgedAnswers = "forged, stale and cross-peer answers",
    /// Answers with the right token and the wrong content.
    WrongAnswers = "answers to the right call with wrong content",
    /// Sequences ahead, behind, and round about.
    TailJumps = "tails that jump and run backwards",
    /// Heads ahead, behind, and round about.
    HeadJumps = "heads that jump and run backwards",
    /// More requests than credits.
    CreditExceeded = "credit exceeded",
    /// One-way sends without end, over what was not drained.
    Flood = "flood without regard for room",
    /// The wish for space, stuck and random.
    WantSpace = "want_space stuck and random",
    /// The hint word cleared, set and random.
    Hints = "hint bits cleared and set",
    /// Rings for nothing, and a state that always sleeps.
    Rings = "spurious rings, a state word that lies",
    /// Slots changed while they are copied.
    Racing = "slots changed while they are copied",
    /// Bulk lengths beyond their buffers.
    BadBulk = "bulk lengths beyond their buffers",
}

/// Methods of the victim's service.
const MIX: u16 = 0;
const TURN: u16 = 1;
const LINGER: u16 = 2;
const NOTE: u16 = 3;

fn request(method: u16, words: usize) -> Info {
    Info::new(Kind::Request, method, words)
}

fn any_kind(random: &mut Random) -> Kind {
    match random.below(4) {
        0 => Kind::Request,
        1 => Kind::OneWay,
        2 => Kind::Cancel,
        _ => Kind::Answer,
    }
}

/// A number that is often near an edge.
fn edgy(random: &mut Random) -> u64 {
    match random.below(6) {
        0 => random.below(4),
        1 => u64::MAX - random.below(4),
        2 => u64::from(u32::MAX) - 2 + random.below(5),
        3 => 1 << random.below(64),
        4 => u64::from(random.next_u64() as u16),
        _ => random.next_u64(),
    }
}

impl Attack {
    /// One round of the attack.
    pub(super) fn round(self, pen: &mut Pen, random: &mut Random) {
        match self {
            Attack::Scatter => scatter(pen, random),
            Attack::Honest => honest(pen, random),
            Attack::Mutated => mutated(pen, random),
            Attack::Cancels => cancels(pen, random),
            Attack::ForgedAnswers => forged_answers(pen, random),
            Attack::WrongAnswers => wrong_answers(pen, random),
            Attack::TailJumps => tail_jumps(pen, random),
            Attack::HeadJumps => head_jumps(pen, random),
            Attack::CreditExceeded => credit_exceeded(pen, random),
            Attack::Flood => flood(pen, random),
            Attack::WantSpace => want_space(pen, random),
            Attack::Hints => hints(pen, random),
            Attack::Rings => rings(pen, random),
            Attack::Racing => racing(pen, random),
            Attack::BadBulk => bad_bulk(pen, random),
        }
    }
}

fn scatter(pen: &mut Pen, random: &mut Random) {
    for _ in 0..64 {
        let at = random.below(pen.len()) as usize;
        let value = edgy(random);
        pen.put(at, value);
    }
}

fn honest(pen: &mut Pen, random: &mut Random) {
    answer_all(pen, |_, _| true);
    if !pen.is_in_step(random) {
        return;
    }
    let token = pen.fresh_token(random);
    let words = [0, 1, 2, 3].map(|_: u64| random.next_u64());
    pen.send(Lane::Requests, request(MIX, 4), token, &words);
    pen.send(
        Lane::Requests,
        Info::new(Kind::OneWay, NOTE, 1),
        token,
        &[random.next_u64()],
    );
    pen.ring();
}

/// Answers the victim's calls, those that `wanted` picks, as it would like.
fn answer_all(pen: &mut Pen, mut wanted: impl FnMut(&mut Pen, u64) -> bool) {
    while let Some((info, token)) = pen.next_request() {
        if info.kind() == Some(Kind::Request) && wanted(pen, token) {
            let answer = Info::new(Kind::Answer, 0, 2);
            pen.send(Lane::Answers, answer, token, &[1, 0]);
        }
    }
    pen.publish_head();
}

fn mutated(pen: &mut Pen, random: &mut Random) {
    let mut info = request(random.below(5) as u16, 1 + random.below(6) as usize);
    let mut token = pen.fresh_token(random);
    match random.below(5) {
        0 => info = Info::from_raw(random.next_u64() as u32),
        1 => info = Info::new(any_kind(random), random.next_u64() as u16, 6),
        2 => info = Info::new(Kind::Request, info.method(), 0),
        3 => token = edgy(random),
        _ => info = Info::from_raw(info.raw() ^ 1 << random.below(32)),
    }
    let payload = [0; 6].map(|_: u64| edgy(random));
    pen.send(Lane::Requests, info, token, &payload);
    pen.ring();
}

fn cancels(pen: &mut Pen, random: &mut Random) {
    let token = pen.fresh_token(random);
    if random.one_in(2) {
        pen.send(Lane::Requests, request(LINGER, 1), token, &[1_000_000]);
    }
    for _ in 0..random.below(4) {
        let token = match random.below(3) {
            0 => token,
            1 => edgy(random),
            _ => token ^ 1 << random.below(64),
        };
        pen.send(Lane::Requests, Info::new(Kind::Cancel, 0, 0), token, &[]);
    }
    pen.ring();
}

fn forged_answers(pen: &mut Pen, random: &mut Random) {
    let mut seen = Vec::new();
    while let Some((_, token)) = pen.next_request() {
        seen.push(token);
    }
    pen.publish_head();
    for _ in 0..8 {
        let old = pen.tokens.get(random.below(16) as usize).copied();
        let token = match random.below(4) {
            0 => edgy(random),
            // Of this connection, but answered already, or never asked.
            1 => old.unwrap_or(0),
            2 => old.unwrap_or(0) ^ 1 << random.below(64),
            // What an honest client's token looks like.
            _ => Token::new(random.below(8) as u16, random.below(4096)).raw(),
        };
        let payload = [edgy(random), edgy(random)];
        pen.send(
            Lane::Answers,
            Info::new(Kind::Answer, 0, 2),
            token,
            &payload,
        );
    }
    pen.ring();
}

fn wrong_answers(pen: &mut Pen, random: &mut Random) {
    while let Some((info, token)) = pen.next_request() {
        if info.kind() != Some(Kind::Request) {
            continue;
        }
        let status = match random.below(3) {
            0 => 0,
            1 => random.below(8) as u16,
            _ => random.next_u64() as u16,
        };
        let kind = match random.below(8) {
            0 => any_kind(random),
            _ => Kind::Answer,
        };
        let payload = [0; 6].map(|_: u64| edgy(random));
        let answer = Info::new(kind, status, random.below(256) as usize);
        pen.send(Lane::Answers, answer, token, &payload);
        if random.one_in(4) {
            pen.send(Lane::Answers, answer, token, &payload);
        }
    }
    pen.publish_head();
    pen.ring();
}

fn tail_jumps(pen: &mut Pen, random: &mut Random) {
    for _ in 0..32 {
        let lane = if random.one_in(2) {
            Lane::Requests
        } else {
            Lane::Answers
        };
        let capacity = pen.slots(lane);
        let tail = pen.tails[lane as usize];
        let position = match random.below(5) {
            0 => tail.wrapping_add(capacity),
            1 => tail.wrapping_sub(1),
            2 => tail.wrapping_sub(capacity),
            3 => tail.wrapping_add(random.below(64) as u32),
            _ => random.next_u64() as u32,
        };
        let slot = pen.slot(lane, position);
        let token = edgy(random);
        pen.put(slot + 1, token);
        pen.publish(slot, position, Info::new(Kind::OneWay, NOTE, 1));
    }
    pen.ring();
}

fn head_jumps(pen: &mut Pen, random: &mut Random) {
    for _ in 0..16 {
        let head = u64::from(pen.heads[0]);
        let value = match random.below(5) {
            0 => head.wrapping_sub(1),
            1 => head + 1,
            2 => head + random.below(64),
            3 => head | 1 << 32,
            _ => edgy(random),
        };
        let lane = if random.one_in(4) {
            Lane::Answers
        } else {
            Lane::Requests
        };
        pen.put_head(lane, value);
    }
    pen.ring();
}

fn credit_exceeded(pen: &mut Pen, random: &mut Random) {
    if !pen.is_in_step(random) {
        return;
    }
    let times = 1 + random.below(u64::from(pen.slots(Lane::Requests)));
    let token = pen.fresh_token(random);
    for number in 0..times {
        let token = match random.below(3) {
            0 => token,
            1 => Token::new(number as u16, pen.generation).raw(),
            _ => Token::new(u16::MAX - number as u16, 0).raw(),
        };
        pen.send(Lane::Requests, request(LINGER, 1), token, &[500_000]);
    }
    pen.ring();
}

fn flood(pen: &mut Pen, random: &mut Random) {
    let token = pen.fresh_token(random);
    for number in 0..64 {
        let info = Info::new(Kind::OneWay, NOTE, 1);
        // Never looks at the head, but stays where the victim looks.
        if pen.tails[0].wrapping_sub(pen.victims_head()) > pen.slots(Lane::Requests) {
            pen.tails[0] = pen.victims_head();
        }
        pen.send(Lane::Requests, info, token, &[number]);
    }
    pen.ring();
}

fn want_space(pen: &mut Pen, random: &mut Random) {
    for _ in 0..8 {
        let value = if random.one_in(2) { 1 } else { edgy(random) };
        pen.put_want(value);
    }
    pen.put_state(edgy(random) | 1);
    honest(pen, random);
}

fn hints(pen: &mut Pen, random: &mut Random) {
    for _ in 0..16 {
        let value = match random.below(4) {
            0 => 0,
            1 => u64::MAX,
            2 => Pen::some_bit(random),
            _ => random.next_u64(),
        };
        pen.put_hint(value);
    }
    pen.ring();
}

fn rings(pen: &mut Pen, random: &mut Random) {
    for _ in 0..8 {
        let value = match random.below(3) {
            0 => 1,
            1 => edgy(random) | 1,
            _ => edgy(random),
        };
        pen.put_state(value);
        pen.ring();
    }
    honest(pen, random);
}

fn racing(pen: &mut Pen, random: &mut Random) {
    if !pen.is_in_step(random) {
        return;
    }
    let tail = pen.tails[0];
    let slot = pen.slot(Lane::Requests, tail);
    let token = pen.fresh_token(random);
    pen.send(Lane::Requests, request(MIX, 4), token, &[1, 2, 3, 4]);
    pen.ring();
    // While the victim looks at it: length, kind, token and payload change.
    for _ in 0..256 {
        match random.below(3) {
            0 => {
                let info = Info::from_raw(random.next_u64() as u32);
                pen.publish(slot, tail, info);
            }
            1 => {
                let token = pen.fresh_token(random);
                pen.put(slot + 1, token);
            }
            _ => {
                let value = edgy(random);
                pen.put(slot + 2 + random.below(6) as usize, value);
            }
        }
    }
}

fn bad_bulk(pen: &mut Pen, random: &mut Random) {
    if pen.is_in_step(random) {
        let token = pen.fresh_token(random);
        let len = match random.below(4) {
            0 => u64::from(BULK_BYTES),
            1 => u64::from(BULK_BYTES) + 1 + random.below(64),
            _ => edgy(random),
        };
        // One word, or none, or a length in the wrong place.
        let words = random.below(3) as usize;
        pen.send(Lane::Requests, request(TURN, words), token, &[len, len]);
    }
    while let Some((_, token)) = pen.next_request() {
        let answer = Info::new(Kind::Answer, 0, 2);
        let len = edgy(random);
        pen.send(Lane::Answers, answer, token, &[0, len]);
    }
    pen.publish_head();
    pen.ring();
}
