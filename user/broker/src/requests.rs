//! What processes ask of the broker, decoded and answered.

use crate::process::ProcessNumber;
use crate::{Broker, GrantNumber, badge};
use baton_platform::protocol::{
    ALARM, CONNECT, CONNECTIONS_OF_GRANT, END, RELEASE, Refusal, SERVE, TERMS_WORDS, Terms,
};
use baton_runtime::sel4::{Message, Received, ipc_buffer, reply};

impl Broker {
    /// Answers a request; says no to what is none.
    pub(crate) fn answer(&mut self, process: ProcessNumber, received: &Received) -> bool {
        let result = match received.label() {
            CONNECT => self.asked_to_connect(process, received),
            SERVE => self.asked_to_serve(process, received),
            END => {
                let [index, generation, ..] = received.mrs;
                let known = self.end_of(process, index as u32, generation);
                known.then_some(0).ok_or((Refusal::NotYours, 0))
            }
            RELEASE => {
                let [index, generation, ..] = received.mrs;
                let known = self.release(process, index as u32, generation);
                known.then_some(0).ok_or((Refusal::NotYours, 0))
            }
            ALARM => self.asked_for_alarm(process, received.mrs[0]),
            _ => return false,
        };
        let (label, word) = match result {
            Ok(word) => (0, word),
            Err((refusal, detail)) => (refusal as u64, detail),
        };
        // Nobody waits for it if this was not a call, or if the caller has been stopped meanwhile.
        reply(&Message::new(label, &[word]));
        true
    }

    fn asked_to_connect(
        &mut self,
        client: ProcessNumber,
        received: &Received,
    ) -> Result<u64, (Refusal, u64)> {
        let shown = received.info.caps_unwrapped() & 1 != 0;
        let badge = if shown {
            ipc_buffer().cap_or_badge(0)
        } else {
            0
        };
        let words = words(received, 0)?;
        let (badge::GRANT, number) = badge::split(badge) else {
            return Err((Refusal::NoService, 0));
        };
        let grant = self.grants.get(&number).ok_or((Refusal::NoService, 0))?;
        let number_of_service = grant.service;
        let service = self
            .services
            .get(&number_of_service.0)
            .ok_or((Refusal::NoService, 0))?;
        let granted = service.terms.ok_or((Refusal::NotServing, 0))?;
        let server = service.owner;
        if server == client {
            // Its two ends would be one inbox: a process calls itself without us.
            return Err((Refusal::NotYours, 0));
        }
        let terms = Terms::from_words(words).agree(&granted)?;
        let grant = GrantNumber(number);
        let made = self.connections_where(|connection| connection.grant == grant);
        if made.len() >= CONNECTIONS_OF_GRANT {
            return Err((Refusal::GrantInUse, 0));
        }
        self.connect(grant, number_of_service, client, server, &terms)
            .map(u64::from)
            .map_err(|refusal| (refusal, 0))
    }

    fn asked_to_serve(
        &mut self,
        server: ProcessNumber,
        received: &Received,
    ) -> Result<u64, (Refusal, u64)> {
        let terms = Terms::from_words(words(received, 1)?);
        // What is granted must be possible for every client, not be found out with the first.
        let transport = self.transport_of(server).ok_or((Refusal::NotYours, 0))?;
        terms
            .layouts(transport)
            .map_err(|_| (Refusal::TooMuch, 0))?;
        let service = u32::try_from(received.word(0))
            .ok()
            .and_then(|number| self.services.get_mut(&number))
            .filter(|service| service.owner == server)
            .ok_or((Refusal::NotYours, 0))?;
        service.terms = Some(terms);
        Ok(0)
    }
}

/// The words of terms from word `from` of a message on.
fn words(received: &Received, from: usize) -> Result<[u64; TERMS_WORDS], (Refusal, u64)> {
    if received.length() < from + TERMS_WORDS {
        return Err((Refusal::Malformed, 0));
    }
    Ok(core::array::from_fn(|index| received.word(from + index)))
}
