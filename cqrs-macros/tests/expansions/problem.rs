#[allow(deprecated, unused_qualifications)]
const _: () = {
    use ::cqrs::__private as __cqrs;
    #[automatically_derived]
    impl __cqrs::Problem for Declined {
        fn problem(&self) -> ::core::option::Option<__cqrs::ProblemDetails> {
            ::core::option::Option::Some(
                __cqrs::derived(
                    self,
                    409u16,
                    ::core::option::Option::Some("Declined"),
                    ::core::option::Option::Some("/problems/declined"),
                ),
            )
        }
    }
    const __ITEM: __cqrs::ProblemItem = {
        #[allow(unused_imports)]
        use __cqrs::ProblemFallback as _;
        __cqrs::ProblemItem::new(__cqrs::ProblemProbe::<Declined>::RECOGNISE)
    };
    __cqrs::inventory::submit! {
        __ITEM
    }
};
