use cqrs::prelude::*;

macro_rules! numbered {
    ($($handler:ident $message:ident)*) => {$(
        #[command_handler]
        async fn $handler(_cmd: messages::$message) -> &'static str {
            stringify!($message)
        }
    )*};
}

numbered! {
    n00 N00 n01 N01 n02 N02 n03 N03 n04 N04 n05 N05 n06 N06 n07 N07 n08 N08 n09 N09
    n10 N10 n11 N11 n12 N12 n13 N13 n14 N14 n15 N15 n16 N16 n17 N17 n18 N18 n19 N19
}
