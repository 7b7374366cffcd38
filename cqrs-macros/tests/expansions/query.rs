#[allow(deprecated)]
const _: () = {
    use ::cqrs::__private as __cqrs;
    type __Checked = [(); __cqrs::checked_message::<GetOrder>()];
    #[automatically_derived]
    impl __cqrs::Message for GetOrder
    where
        __Checked:,
    {
        type Checked = __Checked;
        const SPEC: &'static __cqrs::MessageSpec = &__cqrs::MessageSpec {
            kind: __cqrs::MessageKind::Query,
            streaming: false,
            name: "GetOrder",
            version: 1u32,
            topic: "GetOrder",
            type_id: ::core::any::TypeId::of::<Self>(),
            path: __cqrs::TypePath::Written(
                ::core::concat!(::core::module_path!(), "::", "GetOrder"),
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
    impl __cqrs::Handled for GetOrder
    where
        __Checked:,
    {
        type Response = Option<OrderView>;
        type Error = sqlx::Error;
        __cqrs::web_of! {
            sqlx::Error
        }
    }
    #[automatically_derived]
    impl __cqrs::AnyQuery for GetOrder
    where
        __Checked:,
    {}
    #[automatically_derived]
    impl __cqrs::Query for GetOrder
    where
        __Checked:,
    {}
    __cqrs::inventory::submit! {
        __cqrs::MessageItem::of:: < GetOrder > ()
    }
};
