#[allow(deprecated, unused_qualifications)]
const _: () = {
    use ::cqrs::__private as __cqrs;
    #[automatically_derived]
    impl __cqrs::Problem for PayError {
        fn problem(&self) -> ::core::option::Option<__cqrs::ProblemDetails> {
            match self {
                Self::NoSuchOrder { .. } => {
                    ::core::option::Option::Some(
                        __cqrs::derived(
                            self,
                            404u16,
                            ::core::option::Option::None,
                            ::core::option::Option::None,
                        ),
                    )
                }
                Self::Declined { .. } => {
                    ::core::option::Option::Some(
                        __cqrs::derived(
                            self,
                            409u16,
                            ::core::option::Option::Some("Declined"),
                            ::core::option::Option::None,
                        ),
                    )
                }
                _ => ::core::option::Option::None,
            }
        }
    }
    const __ITEM: __cqrs::ProblemItem = {
        #[allow(unused_imports)]
        use __cqrs::ProblemFallback as _;
        __cqrs::ProblemItem::new(__cqrs::ProblemProbe::<PayError>::RECOGNISE)
    };
    __cqrs::inventory::submit! {
        __ITEM
    }
};
