//! What builds on what, and whether the whole of it is good.

use std::collections::HashMap;

use uuid::Uuid;

use super::Candidate;

/// How much a backup is worth, with all that it builds on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Grade {
    /// Damaged, or it builds on what is damaged or missing.
    Broken,
    /// Nothing is known against it, but it has not passed the check that is asked for.
    Unverified,
    /// It counts.
    Good,
}

/// The chains of some backups, by their positions.
#[derive(Debug)]
pub(super) struct Chains {
    links: Vec<Link>,
}

#[derive(Debug, Clone, Copy)]
struct Link {
    base: Option<usize>,
    grade: Grade,
    depth: u32,
}

impl Chains {
    /// Looks at each link once, however many chains share it and however long they are.
    pub(super) fn new(candidates: &[Candidate], verification: bool) -> Self {
        let positions: HashMap<Uuid, usize> = candidates.iter().enumerate().map(|(i, c)| (c.id, i)).collect();
        let mut links: Vec<Option<Link>> = vec![None; candidates.len()];
        let mut on_way = vec![false; candidates.len()];
        let mut way = Vec::new();
        for start in 0..candidates.len() {
            // Down to the first link that is known, that builds on nothing, or that can't be followed …
            let mut next = Some(start);
            while let Some(index) = next.filter(|i| links[*i].is_none() && !on_way[*i]) {
                on_way[index] = true;
                way.push(index);
                next = candidates[index].base.and_then(|id| positions.get(&id).copied());
            }
            // … and back up. A base that is still on the way closes a circle.
            while let Some(index) = way.pop() {
                let base = candidates[index].base.and_then(|id| positions.get(&id).copied());
                let below = base.and_then(|base| links[base]);
                let own = own_grade(&candidates[index], verification);
                links[index] = Some(match (candidates[index].base, below) {
                    (None, _) => Link {
                        base: None,
                        grade: own,
                        depth: 0,
                    },
                    (Some(_), Some(below)) => Link {
                        base,
                        grade: own.min(below.grade),
                        depth: below.depth.saturating_add(1),
                    },
                    (Some(_), None) => Link {
                        base,
                        grade: Grade::Broken,
                        depth: 0,
                    },
                });
                on_way[index] = false;
            }
        }
        Chains {
            links: links.into_iter().flatten().collect(),
        }
    }

    pub(super) fn grade(&self, index: usize) -> Grade {
        self.links[index].grade
    }

    /// How many it builds on, one after the other.
    pub(super) fn depth(&self, index: usize) -> u32 {
        self.links[index].depth
    }

    /// What it builds on, if that is among the candidates.
    pub(super) fn base(&self, index: usize) -> Option<usize> {
        self.links[index].base
    }
}

fn own_grade(candidate: &Candidate, verification: bool) -> Grade {
    match candidate.verified {
        Some(false) => Grade::Broken,
        None if verification => Grade::Unverified,
        _ => Grade::Good,
    }
}
