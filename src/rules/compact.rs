//! Rules as they are kept: there may be a hundred thousand of them, so nothing is kept twice and no list has room to spare.

use std::collections::HashMap;
use std::sync::Arc;

use crate::rules::glob::GlobSet;
use crate::rules::model::{FilterTest, Rule, Step};
use crate::rules::template::Template;

/// Lets equal lists of patterns be one, with the regular expressions that are made when they are first used, and gives back what
/// reading the rules left over.
pub fn compact(rules: &mut [Rule]) {
    let mut known: HashMap<Vec<String>, Arc<GlobSet>> = HashMap::new();
    for rule in rules {
        for trigger in &mut rule.triggers {
            for filter in &mut trigger.filters {
                if let FilterTest::Glob(set) | FilterTest::AnyGlob(set) = &mut filter.test {
                    let patterns = set.patterns().map(str::to_owned).collect();
                    *set = Arc::clone(known.entry(patterns).or_insert_with(|| Arc::clone(set)));
                }
            }
            trigger.filters.shrink_to_fit();
            trigger.shapes.shrink_to_fit();
            trigger.arguments.shrink_to_fit();
        }
        rule.triggers.shrink_to_fit();
        rule.place.shrink_to_fit();
        rule.vars.iter_mut().for_each(|(_, template)| shrink(template));
        rule.vars.shrink_to_fit();
        for steps in [&mut rule.steps, &mut rule.on_failure, &mut rule.finally] {
            steps.iter_mut().for_each(|step: &mut Step| shrink(&mut step.with));
            steps.shrink_to_fit();
        }
    }
}

fn shrink(template: &mut Template) {
    match template {
        Template::Literal(_) | Template::Whole(..) => {}
        Template::Text(parts) => parts.shrink_to_fit(),
        Template::List(items) => {
            items.iter_mut().for_each(shrink);
            items.shrink_to_fit();
        }
        Template::Object(fields) => {
            fields.iter_mut().for_each(|(_, field)| shrink(field));
            fields.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::check::{Ground, check};

    #[test]
    fn equal_lists_of_patterns_are_kept_once() {
        let text = "version: 1\nrules:\n  a: { on: { github.push: { branches: [main, \"v*\"], paths: [\"src/**\"] } }, steps: [] }\n  b: { on: { github.push: { branches: [main, \"v*\"], paths: [\"doc/**\"] } }, steps: [] }\n";
        let mut rules: Vec<Rule> =
            ["a.yaml", "b.yaml"].iter().flat_map(|path| check(path, text, &Ground::default()).rules).collect();
        compact(&mut rules);
        let set = |rule: usize, filter: usize| match &rules[rule].triggers[0].filters[filter].test {
            FilterTest::Glob(set) | FilterTest::AnyGlob(set) => Arc::clone(set),
            other => panic!("{other:?}"),
        };
        for rule in 1..4 {
            assert!(Arc::ptr_eq(&set(0, 0), &set(rule, 0)), "branches of rule {rule}");
        }
        assert!(Arc::ptr_eq(&set(0, 1), &set(2, 1)) && !Arc::ptr_eq(&set(0, 1), &set(1, 1)));
    }
}
