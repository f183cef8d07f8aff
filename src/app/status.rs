//! What every target did when it was last tried: the log has what changed, the landing page all of it.

use super::scrape::Round;
use super::*;

/// What every target did when it was last tried, in the order of sources and targets.
pub(super) type States = Vec<State>;

/// What every source noticed when it was last asked for its metrics.
pub(super) type Notices = Vec<(&'static str, Notice)>;

#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) source: &'static str,
    pub(super) target: String,
    pub(super) trouble: Option<Error>,
    pub(super) since: i64,
}

impl App {
    /// What was found out when every target was last tried, by source, and since when it is so where that is known.
    pub(super) fn findings(&self) -> Vec<(Finding, Option<i64>)> {
        let notices = lock(&self.notices).clone();
        // No lock is held while the scene is looked at.
        let states = lock(&self.states).clone();
        let mut findings = Vec::new();
        for State { source, target, trouble, since } in states {
            let noticed = notices.iter().find(|(name, notice)| *name == source && notice.thing() == target);
            let finding = match (&trouble, noticed) {
                (None, Some(_)) => continue,
                (None, None) => doctor::target(source, &target, None, &Scene::default()),
                (Some(error), _) => {
                    doctor::target(source, &target, Some(error), &Scene::around(source, &target, error))
                }
            };
            findings.push((finding, Some(since)));
        }
        // What was noticed of a target that is down says less.
        let is_down = |notice: &Notice| findings.iter().any(|(finding, _)| finding.thing == notice.thing());
        let news = notices.iter().filter(|(_, notice)| !is_down(notice));
        let news: Vec<_> = news.map(|(source, notice)| doctor::notice(source, notice)).collect();
        let door = lock(&self.door).clone();
        for finding in news.into_iter().chain(self.absent()).chain(door) {
            let behind = findings.iter().rposition(|(known, _)| known.source == finding.source);
            findings.insert(behind.map_or(findings.len(), |place| place.saturating_add(1)), (finding, None));
        }
        findings
    }

    /// The sources that were looked for on this machine and are not there.
    pub(super) fn absent(&self) -> Vec<Finding> {
        let missing: Vec<_> = {
            let watch = lock(&self.watch);
            LOOKED_FOR.iter().filter(|(source, _)| watch.discover.is_some() && !watch.has(source)).collect()
        };
        let finding = |(source, tried): &(&'static str, &str)| {
            let error = Error::NotFound { thing: (*tried).into() };
            doctor::absent(source, tried, &Scene::around(source, tried, &error))
        };
        missing.into_iter().map(finding).collect()
    }

    /// Notes what a source noticed, and logs what is new where it can mean that something is down.
    pub(super) fn note_notices(&self, source: &'static str, notices: &[Notice]) {
        let mut known = lock(&self.notices);
        for notice in notices {
            let is_new = !known.iter().any(|(name, before)| *name == source && before.thing() == notice.thing());
            if let (true, Notice::Stale { .. } | Notice::NoMatch { .. }) = (is_new, notice) {
                let Finding { thing, words, .. } = doctor::notice(source, notice);
                log::warn!("{source}: {thing}: {words}");
            }
        }
        known.retain(|(name, _)| *name != source);
        known.extend(notices.iter().map(|notice| (source, notice.clone())));
    }

    /// Notes how every target did, and logs what changed: once, not at every scrape. Where the peer was hasty, it says
    /// nothing about a target that it was too slow.
    pub(super) fn note(&self, rounds: &[Round], wish: Wish, is_hasty: bool) {
        let now = clock::now();
        // Held meanwhile, so that no source is noted that a reload has just let go.
        let watch = lock(&self.watch);
        let mut states = lock(&self.states);
        for Round { name, report, .. } in rounds.iter().filter(|round| watch.has(round.name)) {
            if wish == Wish::Metrics {
                self.note_notices(name, &report.notices);
                states.retain(|state| {
                    state.source != *name || report.targets.iter().any(|(reported, _)| *reported == state.target)
                });
            }
            for (target, result) in &report.targets {
                let trouble = result.as_ref().err().cloned();
                if is_hasty && matches!(trouble, Some(Error::TimedOut { .. })) {
                    continue;
                }
                let place = states.binary_search_by(|state| (state.source, &state.target).cmp(&(*name, target)));
                let known = place.ok().and_then(|place| states.get(place));
                if known.is_some_and(|state| state.trouble == trouble) {
                    continue;
                }
                match &trouble {
                    Some(trouble) => log::warn!("{name}: {trouble}"),
                    None if known.is_some() => log::info!("{name}: {target} answers again"),
                    None => log::debug!("{name}: {target} answers"),
                }
                // Another reason for the same silence does not make it younger.
                let since =
                    known.filter(|state| state.trouble.is_some() == trouble.is_some()).map_or(now, |state| state.since);
                if let Ok(place) = place {
                    states.remove(place);
                }
                let (Ok(place) | Err(place)) = place;
                states.insert(place, State { source: name, target: target.clone(), trouble, since });
            }
        }
    }
}
