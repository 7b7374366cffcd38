//! Bodies that grow when they are unpacked: what they take of memory is bounded by the limit, not by what they unpack to.

use std::io::Write as _;

use cqrs_tests::services;

use super::{Bad, kafka};
use crate::world::{ALL, World};

const MIB: usize = 1 << 20;
/// What they unpack to, in MiB: as much of it as goes into a message of Kafka's by zlib.
const GROWS_TO: usize = 900;
/// What all of them together may take: four are read at a time, each with the limit of 1 MiB and as much again while it grows, and with
/// the 8 MiB that a Zstandard decoder looks back by, besides what is kept of them: their bytes, here and there.
const MOST_KIB: u64 = 96 * 1024;

/// Zlib, of the same block again and again: after a full flush each is the same.
fn zlib() -> Vec<u8> {
    let compress = flate2::Compression::best();
    let mut encoder = flate2::Compress::new(compress, false);
    let mut block = vec![0; 64 * 1024];
    encoder.compress(&vec![0; MIB], &mut block, flate2::FlushCompress::Full).unwrap();
    assert_eq!(encoder.total_in(), MIB as u64);
    block.truncate(usize::try_from(encoder.total_out()).unwrap());
    let mut bomb = vec![0x78, 0xda];
    bomb.extend(block.repeat(GROWS_TO));
    // The last block, which is empty, and a checksum that nobody comes to.
    bomb.extend([0x03, 0x00, 0, 0, 0, 0]);
    bomb
}

fn zstd() -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    for _ in 0..GROWS_TO {
        encoder.write_all(&vec![0; MIB]).unwrap();
    }
    encoder.finish().unwrap()
}

/// A frame of Zstandard that says it looks back by 2 GiB, and then is a run of zeros: three bytes for each 128 KiB.
fn wide_window() -> Vec<u8> {
    let mut bomb = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, (31 - 10) << 3];
    bomb.extend(runs());
    bomb
}

/// One that is to be unpacked at once, into as much as it says: 4 GiB.
fn single_segment() -> Vec<u8> {
    let mut bomb = vec![0x28, 0xb5, 0x2f, 0xfd, 0b1110_0000];
    bomb.extend((4_u64 << 30).to_le_bytes());
    bomb.extend(runs());
    bomb
}

/// One that looks back by exactly what is let through, 8 MiB.
fn widest_window() -> Vec<u8> {
    let mut bomb = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, (23 - 10) << 3];
    bomb.extend(runs());
    bomb
}

fn runs() -> Vec<u8> {
    const LENGTH: u32 = 128 * 1024;
    // A block that is not the last, of one byte that comes again and again.
    let header = (LENGTH << 3) | (1 << 1);
    let [a, b, c, _] = header.to_le_bytes();
    [a, b, c, 0].repeat(GROWS_TO * MIB / LENGTH as usize)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g11_what_grows_when_it_is_unpacked_takes_no_more_memory_than_the_limit_says() {
    let world = World::new(&services::postgres_url(), &services::kafka_url(), 60).await;
    let process = world.start(ALL, None);
    world.reaches("SELECT COUNT(*) FROM diary", 40).await;
    let before = process.most_memory();
    let kinds = [
        ("zlib", zlib()),
        ("zstd", zstd()),
        ("zstd", wide_window()),
        ("zstd", single_segment()),
        ("zstd", widest_window()),
    ];
    let (mut all, mut bytes) = (Vec::new(), 0);
    for round in 0..4 {
        for (number, (encoding, payload)) in kinds.iter().enumerate() {
            bytes += payload.len();
            all.push(Bad {
                what: "a bomb",
                key: Some(format!("bomb {round} {number}").into_bytes()),
                headers: vec![("content-encoding", Some(encoding.as_bytes().to_vec()))],
                payload: Some(payload.clone()),
            });
        }
    }
    assert!(bytes < 8 * MIB, "they are small: {bytes}");
    let all = i64::try_from(kafka::publish(&world.on_broker("steps"), all).await).unwrap();
    world
        .reaches(
            "SELECT COUNT(DISTINCT message_key) FROM cqrs_work WHERE state = 'dead' AND message_key LIKE 'bomb%'",
            all,
        )
        .await;
    let took = process.most_memory() - before;
    assert!(took < MOST_KIB, "{took} KiB were taken, from {before} on");
    let over = "SELECT COUNT(DISTINCT message_key) FROM cqrs_work WHERE error LIKE '%longer than 1114112 when%'";
    assert_eq!(world.count(over).await, 4 * 3, "{}", world.log());
    // Those that look back by more than is let through are not begun with.
    let wide = "SELECT COUNT(DISTINCT message_key) FROM cqrs_work WHERE error LIKE '%too much memory%'";
    assert_eq!(world.count(wide).await, 4 * 2, "{}", world.log());
    world.arrived().await;
    world.assert_whole().await;
    process.stop(&world).await;
    world.end().await;
}
