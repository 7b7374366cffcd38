::core::compile_error! {
    "`respnse` is not an argument of `#[command(..)]`\n\nhelp: did you mean `response`?\nnote: accepted keys: `response`, `error`, `item`, `name`, `version`, `crate`"
}
#[allow(deprecated)]
const _: () = {
    use ::cqrs::__private as __cqrs;
    type __Checked = [(); __cqrs::checked_message::<PlaceOrder>()];
    #[automatically_derived]
    impl __cqrs::Message for PlaceOrder
    where
        __Checked:,
    {
        type Checked = __Checked;
        const SPEC: &'static __cqrs::MessageSpec = &__cqrs::MessageSpec {
            kind: __cqrs::MessageKind::Command,
            streaming: false,
            name: "PlaceOrder",
            version: 1u32,
            topic: "PlaceOrder",
            type_id: ::core::any::TypeId::of::<Self>(),
            path: __cqrs::TypePath::Written(
                ::core::concat!(::core::module_path!(), "::", "PlaceOrder"),
            ),
            location: __cqrs::SourceLocation {
                module: ::core::module_path!(),
                file: ::core::file!(),
                line: ::core::line!(),
            },
            key: ::core::option::Option::None,
            codec: {
                #[allow(unused_imports)]
                use __cqrs::ProbeFallback as _;
                __cqrs::Codec {
                    duplicate: __cqrs::Probe::<Self>::DUPLICATE,
                    debug: __cqrs::Probe::<Self>::DEBUG,
                    ..__cqrs::Probe::<Self>::STORED
                }
            },
            wire: ::core::option::Option::None,
            upgrades: ::core::option::Option::None,
        };
    }
    #[automatically_derived]
    impl __cqrs::Handled for PlaceOrder
    where
        __Checked:,
    {
        type Response = ();
        type Error = __cqrs::BoxError;
        __cqrs::web_of! {
            __cqrs::BoxError, keyed
        }
    }
    #[automatically_derived]
    impl __cqrs::AnyCommand for PlaceOrder
    where
        __Checked:,
    {}
    #[automatically_derived]
    impl __cqrs::Command for PlaceOrder
    where
        __Checked:,
    {}
    __cqrs::inventory::submit! {
        __cqrs::MessageItem::of:: < PlaceOrder > ()
    }
};
