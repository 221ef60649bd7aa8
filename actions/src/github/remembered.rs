//! Answers that were read before, by their ETag: asking again whether one still holds costs nothing of the hourly limit.

use std::collections::{HashMap, VecDeque};

use crate::http::Response;

/// So many answers are remembered, each of at most so many bytes.
const MOST: usize = 256;
const LARGEST: usize = 128 * 1024;

/// The last answers, the oldest forgotten first.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    answers: HashMap<String, (String, Response)>,
    order: VecDeque<String>,
}

impl Remembered {
    /// The ETag of a path, and the answer it stands for.
    pub(super) fn get(&self, path: &str) -> Option<(String, Response)> {
        self.answers.get(path).cloned()
    }

    pub(super) fn keep(&mut self, path: &str, answer: &Response) {
        let Some(etag) = answer.header("etag").filter(|_| answer.body.len() <= LARGEST) else { return };
        if self.answers.insert(path.to_owned(), (etag.to_owned(), answer.clone())).is_none() {
            self.order.push_back(path.to_owned());
        }
        while self.order.len() > MOST {
            if let Some(oldest) = self.order.pop_front() {
                self.answers.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_answers_are_forgotten_first_and_large_ones_never_kept() {
        let answer = |size: usize| Response {
            status: 200,
            headers: [(http::header::ETAG, "\"a\"".parse().unwrap())].into_iter().collect(),
            body: bytes::Bytes::from(vec![b'x'; size]),
        };
        let mut remembered = Remembered::default();
        for number in 0..=MOST {
            remembered.keep(&format!("/{number}"), &answer(1));
        }
        remembered.keep("/large", &answer(LARGEST + 1));
        assert!(remembered.get("/0").is_none() && remembered.get("/large").is_none());
        assert!(remembered.get("/1").is_some());
        assert_eq!(remembered.answers.len(), MOST);
    }
}
