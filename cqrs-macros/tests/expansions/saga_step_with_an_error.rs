#[allow(clippy::needless_pass_by_value, clippy::unused_async)]
fn ship(cx: &mut Checkout) {}
#[doc(hidden)]
#[allow(
    non_camel_case_types,
    dead_code,
    unreachable_pub,
    missing_debug_implementations,
    clippy::empty_enums
)]
enum ship {}
const _: () = {
    use ::cqrs::__private as __cqrs;
    type __Error = [(); {
        ::core::compile_error! {
            "saga step `ship` must be `async`\n\nhelp: write `async fn ship(..)`"
        }
    }];
    impl<__C> __cqrs::SagaStep<__C> for ship {
        const ITEM: &'static __cqrs::StepItem = {
            let _: __Error;
            loop {}
        };
    }
};
