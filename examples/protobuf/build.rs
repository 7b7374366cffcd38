//! Compiles the `.proto` file, without `protoc`, and makes its message a notification event.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=src/parcels.proto");
    let message = ".parcels.ParcelSent";
    let event = r#"#[event(name = "parcel_sent", topic = "parcels", key = order, codec = "protobuf")]"#;
    prost_build::Config::new()
        .type_attribute(message, "#[derive(::cqrs::NotificationEvent)]")
        .type_attribute(message, event)
        .compile_fds(protox::compile(["src/parcels.proto"], ["src"])?)?;
    Ok(())
}
