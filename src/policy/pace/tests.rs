//! The pace at single events; whole lines are in `lines.rs`.

use super::*;

#[test]
fn readers_that_never_wait_get_no_more_requests() {
    let mut pace = Pace::default();
    pace.on_first_byte(Duration::from_millis(50), MAX_PART_BYTES, Duration::ZERO);
    for step in 0..10_000 {
        pace.on_block(Duration::from_millis(5), pace.streams(), Duration::from_millis(step));
    }
    assert_eq!(pace.streams(), START_STREAMS);
}

#[test]
fn near_store_is_asked_for_shorter_parts_and_a_slow_one_for_the_shortest() {
    for (round_trip, block_time, want) in [
        (Duration::from_micros(300), Duration::from_micros(600), START_PART_BYTES),
        (Duration::from_millis(50), Duration::from_millis(5), MAX_PART_BYTES),
        (Duration::from_millis(50), Duration::from_millis(500), MIN_PART_BYTES),
    ] {
        let mut pace = Pace::default();
        for step in 0..4000 {
            let now = Duration::from_millis(step);
            pace.on_first_byte(round_trip, START_PART_BYTES, now);
            pace.on_block(block_time, 1, now);
        }
        assert_eq!(pace.part_bytes(), want, "{round_trip:?}");
    }
}

#[test]
fn refusal_takes_away_what_was_refused_and_is_remembered() {
    let mut pace = Pace::default();
    // Sixteen are sent at once, nine are taken.
    for in_flight in (10..=16).rev() {
        pace.on_refusal(in_flight, Duration::from_millis(50));
    }
    assert_eq!(pace.streams(), 9);
    pace.on_refusal(9, Duration::from_millis(500));
    assert!(pace.streams() < 9, "{}", pace.streams());
    pace.on_refusal(1, Duration::from_secs(5));
    assert_eq!(pace.streams(), 1);
    pace.on_refusal(1, Duration::from_secs(50));
    assert_eq!(pace.streams(), 1, "one is always left");
}

/// One connection of many stands still again and again, and the reader with it: the others have nothing to do.
#[test]
fn requests_that_cannot_be_used_up_while_a_reader_waits_are_taken_back() {
    let mut pace = Pace::default();
    let (mut now, mut most) = (Duration::ZERO, 0);
    while now < Duration::from_secs(20) {
        let streams = pace.streams();
        most = most.max(streams);
        let is_crowded = streams > 24;
        let in_flight = if is_crowded { 5 } else { streams };
        pace.on_wait();
        pace.on_first_byte(Duration::from_millis(50), MAX_PART_BYTES, now);
        // Beyond 24 all of them bring a fifth of what 24 bring.
        now += Duration::from_micros(if is_crowded { 10_000 } else { 48_000 / streams as u64 });
        pace.on_block(Duration::from_millis(if is_crowded { 50 } else { 48 }), in_flight, now);
    }
    assert!(most > 24, "more were tried: {most}");
    assert!(pace.streams() <= 24, "{}", pace.streams());
}

#[test]
fn memory_sets_a_limit_of_its_own() {
    let mut pace = Pace::default();
    pace.set_max_streams(5);
    assert_eq!((pace.streams(), pace.planned()), (5, 5));
    pace.set_max_streams(MAX_STREAMS);
    assert_eq!((pace.streams(), pace.planned()), (START_STREAMS, 2 * START_STREAMS));
}

#[test]
fn connections_are_young_until_sixteen_blocks_have_come_and_again_after_a_pause() {
    let mut pace = Pace::default();
    assert!(pace.are_connections_young(Duration::ZERO), "nothing is known");
    pace.on_first_byte(Duration::from_millis(50), BLOCK_BYTES, Duration::ZERO);
    for number in 1..=16 {
        assert!(pace.are_connections_young(Duration::from_secs(1)), "{number}");
        pace.on_block(Duration::from_millis(5), 1, Duration::from_secs(1));
    }
    assert!(!pace.are_connections_young(Duration::from_secs(30)));
    assert!(pace.are_connections_young(Duration::from_secs(31)));
    pace.on_block(Duration::from_millis(5), 1, Duration::from_secs(31));
    assert!(pace.are_connections_young(Duration::from_secs(31)), "one block warms nothing");
}

#[test]
fn connections_to_a_near_store_are_never_young() {
    let mut pace = Pace::default();
    pace.on_first_byte(Duration::from_millis(2), BLOCK_BYTES, Duration::ZERO);
    assert!(!pace.are_connections_young(Duration::from_secs(100)));
}

#[test]
fn small_files_over_a_far_line_get_twice_as_many_requests_and_a_block_takes_them_back() {
    let mut pace = Pace::default();
    let (round_trip, mut now) = (Duration::from_millis(50), Duration::ZERO);
    for _ in 0..60 {
        pace.on_wait();
        now += round_trip;
        for _ in 0..pace.streams() {
            pace.on_first_byte(round_trip, 4096, now);
            pace.on_short_answer(Duration::from_micros(300), round_trip, pace.streams(), now);
        }
    }
    assert_eq!(pace.streams(), SHORT_FOR_ONE * MAX_STREAMS);
    assert!(pace.planned() <= MAX_STREAMS);
    pace.on_block(Duration::from_millis(5), pace.streams(), now);
    assert_eq!(pace.streams(), MAX_STREAMS);
}
