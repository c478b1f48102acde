//! Limits of requests in memory and per account.

use model::{Command, DomainCommand, Origin, command::SetDescription};

use super::*;

fn intent(number: u128, who: &str, text: usize) -> Intent {
    let command = Command::Domain(DomainCommand::SetDescription(SetDescription { description: "a".repeat(text) }));
    Intent {
        at: 0,
        request_id: RequestId(uuid::Uuid::from_u128(number)),
        parent: None,
        kind: command.kind().to_owned(),
        host: "atlas".parse().expect("a name"),
        target: Some(uuid::Uuid::from_u128(number)),
        targets: Vec::new(),
        name: "web".into(),
        command,
        origin: Origin { who: Some(who.to_owned()), ..Origin::default() },
        refused: None,
    }
}

fn table(who: &str, count: u128) -> Table {
    let mut table = Table::default();
    for number in 0..count {
        let record = table.keep(Record::new(intent(number, who, 10)));
        record.taken.send_replace(Some(Ok(())));
        table.running += 1;
    }
    table
}

#[test]
fn one_account_leaves_places_to_others_and_a_batch_of_a_thousand_fits() {
    let table = table("jane", 1_000);
    assert!(!table.has_its_share(&intent(5_000, "jane", 10)), "a batch and its parts");
    let mut table = self::table("jane", 1_001);
    assert!(table.has_its_share(&intent(5_000, "jane", 10)));
    assert!(!table.has_its_share(&intent(5_000, "mary", 10)));
    for record in table.records.values() {
        record.task.send_modify(|task| Arc::make_mut(task).end(TaskState::Succeeded, None, 0));
    }
    table.running = MAX_RUNNING / 2 + 1;
    assert!(!table.has_its_share(&intent(5_000, "jane", 10)), "hers have ended");
}

#[test]
fn ended_requests_are_forgotten_by_their_size_and_those_under_way_are_not() {
    let mut table = Table::default();
    let open = table.keep(Record::new(intent(0, "jane", 60_000)));
    open.taken.send_replace(Some(Ok(())));
    for number in 1..1_000 {
        let record = table.keep(Record::new(intent(number, "jane", 60_000)));
        record.taken.send_replace(Some(Err(busy())));
    }
    assert!(table.bytes <= MAX_KEPT_BYTES + 61_000, "{}", table.bytes);
    assert!(table.records.len() < 300 && table.records.contains_key(&RequestId(uuid::Uuid::from_u128(0))));
    let ids: Vec<RequestId> = table.records.keys().copied().collect();
    ids.into_iter().for_each(|id| table.forget(id));
    assert_eq!((table.bytes, table.order.len()), (0, 0), "nothing is counted that is not kept");
}
