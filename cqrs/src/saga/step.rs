//! How a function becomes a step: it is given the context as it is stored, and what it makes of that is stored.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::SagaError;
use super::item::{CompensationItem, StepItem};
use crate::BoxError;
use crate::dispatch::thunk::{Fallible, HandleLent, Plain};
use crate::dispatch::{DispatchError, caught, is_outage};
use crate::error::chain;
use crate::message::Message;
use crate::policy::{Attempted, Backup, Counts, Kept, run};
use crate::unit::Cx;

/// The context of a saga: what its steps read and change, stored between them.
///
/// Implemented by `#[saga(..)]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the context of a saga",
    label = "no saga",
    note = "consider annotating `{Self}` with `#[cqrs::saga(name = \"..\", version = 1, steps = [..])]`"
)]
pub trait SagaContext: Message + Serialize + DeserializeOwned {
    /// What was registered.
    const ITEM: &'static super::item::SagaItem;
}

/// Takes a change that a step returned: of a step that stands beside others, which cannot each have the context to themselves.
///
/// ```
/// use cqrs::Apply;
/// use serde::{Deserialize, Serialize};
///
/// struct Checkout { label: Option<String> }
///
/// #[derive(Serialize, Deserialize)]
/// struct Printed { label: String }
///
/// impl Apply<Printed> for Checkout {
///     fn apply(&mut self, printed: Printed) {
///         self.label = Some(printed.label);
///     }
/// }
/// # let mut checkout = Checkout { label: None };
/// # checkout.apply(Printed { label: "L1".to_owned() });
/// # assert_eq!(checkout.label.as_deref(), Some("L1"));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot take the change `{P}` of a step",
    label = "no `Apply<{P}>` for `{Self}`",
    note = "what a step returns that takes `&{Self}` is a change: `impl cqrs::Apply<{P}> for {Self}`; `()` changes nothing"
)]
pub trait Apply<P> {
    /// Takes the change.
    fn apply(&mut self, patch: P);
}

impl<C> Apply<()> for C {
    fn apply(&mut self, (): ()) {}
}

/// A function under `#[saga_step]`, for sagas over `C`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a step of a saga over `{C}`",
    label = "no `#[saga_step]` function that takes `{C}`",
    note = "`steps = [..]` names functions under `#[saga_step]` that take the saga's context first: `&mut {C}`, or `&{C}` where they stand beside others"
)]
pub trait SagaStep<C>: 'static {
    /// What was registered.
    const ITEM: &'static StepItem;
}

/// A function under `#[compensation]`, for sagas over `C`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a compensation in a saga over `{C}`",
    label = "no `#[compensation]` function that takes `{C}`",
    note = "`compensate = ..` names a function under `#[compensation]` that takes the saga's context first: `&mut {C}` or `&{C}`"
)]
pub trait Compensation<C>: 'static {
    /// What was registered.
    const ITEM: &'static CompensationItem;
}

/// What a step that takes `&mut C` returns, and a compensation.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not what this function returns",
    label = "neither `()` nor a `Result<(), _>` with a fitting error",
    note = "a compensation, and a step that takes its context as `&mut`, return nothing, or `Result<(), E>` with an error that is `Display` and `Into<cqrs::BoxError>`"
)]
pub trait Ends<How>: Attempted<(), BoxError, How, Own = <Self as Ends<How>>::Error> {
    /// The function's own error.
    type Error: fmt::Display + Send + 'static;
}

#[diagnostic::do_not_recommend]
impl Ends<Plain> for () {
    type Error = Infallible;
}

#[diagnostic::do_not_recommend]
impl<E: Into<BoxError> + fmt::Display + Send + 'static> Ends<Fallible> for Result<(), E> {
    type Error = E;
}

/// What a step that takes `&C` returns: a change, or a `Result` of one.
pub trait Changes<C, How>:
    Attempted<<Self as Changes<C, How>>::Patch, BoxError, How, Own = <Self as Changes<C, How>>::Error>
{
    /// The change.
    type Patch;
    /// The function's own error.
    type Error: fmt::Display + Send + 'static;

    /// Makes the change.
    fn make(context: &mut C, patch: Self::Patch);
}

impl<C: Apply<P>, P> Changes<C, Plain> for P {
    type Patch = P;
    type Error = Infallible;

    fn make(context: &mut C, patch: P) {
        context.apply(patch);
    }
}

impl<C: Apply<P>, P, E: Into<BoxError> + fmt::Display + Send + 'static> Changes<C, Fallible> for Result<P, E> {
    type Patch = P;
    type Error = E;

    fn make(context: &mut C, patch: P) {
        context.apply(patch);
    }
}

/// A change that can be stored until the steps beside it have ended.
#[diagnostic::on_unimplemented(
    message = "the change `{Self}` cannot be stored",
    label = "needs `Serialize` and `Deserialize`",
    note = "consider annotating `{Self}` with `#[derive(Serialize, Deserialize)]`: it is stored until the steps beside it have ended"
)]
pub trait Change: Serialize + DeserializeOwned + Send {}

#[diagnostic::do_not_recommend]
impl<P: Serialize + DeserializeOwned + Send> Change for P {}

/// How an attempt at a step failed.
#[derive(Debug)]
pub(crate) struct StepFailure {
    pub(crate) error: BoxError,
    /// What its fallback failed with, where it has one that was called.
    pub(crate) of_fallback: Option<BoxError>,
    /// Whether it may have happened all the same.
    pub(crate) may_have_happened: bool,
    /// Whether another attempt is in vain: the context cannot be read, or the error is none that `on` lists.
    pub(crate) is_in_vain: bool,
    /// Whether the store could not be reached.
    pub(crate) is_outage: bool,
}

impl StepFailure {
    fn in_vain(error: impl Into<BoxError>) -> Self {
        Self { error: error.into(), of_fallback: None, may_have_happened: false, is_in_vain: true, is_outage: false }
    }

    /// It has happened; what it made of the context cannot be written.
    fn unwritten(error: BoxError) -> Self {
        Self { may_have_happened: true, ..Self::in_vain(error) }
    }

    fn of(error: DispatchError<BoxError>, is_in_vain: bool) -> Self {
        let is_outage = is_outage(&error);
        let may_have_happened = match &error {
            // Of a step and its fallback nobody can tell which was cut short.
            DispatchError::Timeout { .. } | DispatchError::Panicked { .. } | DispatchError::FallbackFailed { .. } => {
                true
            }
            _ => false,
        };
        let (error, of_fallback) = match error {
            DispatchError::Handler(own) => (own, None),
            other => (Told(chain(&other)).into(), other.into_handler()),
        };
        Self { error, of_fallback, may_have_happened, is_in_vain, is_outage }
    }
}

/// An error that is known by its words alone.
#[derive(Debug)]
pub(crate) struct Told(pub(crate) String);

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Told {}

/// What a step leaves behind that is to be stored.
#[derive(Debug, Default)]
pub(crate) struct StepEnd {
    /// The context, of a step that has it to itself.
    pub(crate) context: Option<Arc<[u8]>>,
    /// What it returned: the change, of one that stands beside others; or the error, where that can be written.
    pub(crate) returned: Option<Vec<u8>>,
}

/// The future of a step or a compensation: what became of it, and the call's context handed back.
pub(crate) type StepFuture<'a> = Pin<Box<dyn Future<Output = (Result<StepEnd, StepFailure>, Cx<'a>)> + Send + 'a>>;

/// Calls a step or a compensation with a context as it is stored.
#[derive(Debug, Clone, Copy)]
pub struct StepThunk(pub(crate) for<'a> fn(Arc<[u8]>, Cx<'a>, u32) -> StepFuture<'a>);

/// Writes an error of the type that a step fails with; `None` where it is another.
#[derive(Debug, Clone, Copy)]
pub struct KeepFn(pub(crate) fn(&(dyn Error + 'static)) -> Option<Vec<u8>>);

/// Makes a stored change of a stored context.
#[derive(Debug, Clone, Copy)]
pub struct ApplyFn(pub(crate) fn(&[u8], &[u8]) -> Written);

/// A context as it is stored.
type Written = Result<Vec<u8>, BoxError>;

/// Calls a step or a compensation that takes `&mut C`.
pub(crate) fn alone<H, J, B, C, O, How>(context: Arc<[u8]>, mut cx: Cx<'_>, handler: u32) -> StepFuture<'_>
where
    H: HandleLent<Message = C, Output = O>,
    C: SagaContext,
    O: Attempted<(), BoxError, How>,
    J: Counts<O::Own>,
    B: Backup<C, O::Own, (), BoxError>,
{
    Box::pin(async move {
        let mut kept = match Kept::<C>::stored(context, read) {
            Ok(kept) => kept,
            Err(error) => return (Err(StepFailure::in_vain(error)), cx),
        };
        let answer = run::<H, J, B, (), BoxError, How>(&mut kept, &mut cx, handler, false).await;
        let end = answer.map_err(|error| failure(*error, &cx)).and_then(|()| {
            let written = kept.value().map(write);
            let context = written.transpose().map_err(StepFailure::unwritten)?.map(Arc::from);
            Ok(StepEnd { context, returned: None })
        });
        (end, cx)
    })
}

/// Calls a step or a compensation that takes `&C`.
pub(crate) fn beside<H, J, B, C, O, P, How>(context: Arc<[u8]>, mut cx: Cx<'_>, handler: u32) -> StepFuture<'_>
where
    H: HandleLent<Message = C, Output = O>,
    C: SagaContext,
    O: Attempted<P, BoxError, How>,
    P: Serialize + Send,
    J: Counts<O::Own>,
    B: Backup<C, O::Own, P, BoxError>,
{
    Box::pin(async move {
        let mut kept = match Kept::<C>::stored(context, read) {
            Ok(kept) => kept,
            Err(error) => return (Err(StepFailure::in_vain(error)), cx),
        };
        let answer = run::<H, J, B, P, BoxError, How>(&mut kept, &mut cx, handler, false).await;
        let end = answer.map_err(|error| failure(*error, &cx)).and_then(|patch| {
            let patch = write(&patch).map_err(StepFailure::unwritten)?;
            Ok(StepEnd { context: None, returned: Some(patch) })
        });
        (end, cx)
    })
}

/// How large an error may be that is kept, in bytes: it is stored again with each attempt.
const LARGEST_ERROR: usize = 64 * 1024;

/// Writes the error that a step failed with, if it is one of `E`, all of it can be written, and it is not too large.
pub(crate) fn keep<E: Serialize + Error + 'static>(error: &(dyn Error + 'static)) -> Option<Vec<u8>> {
    let error = error.downcast_ref::<E>()?;
    caught(|| serde_json::to_vec(error)).ok()?.ok().filter(|written| written.len() <= LARGEST_ERROR)
}

fn failure(error: DispatchError<BoxError>, cx: &Cx<'_>) -> StepFailure {
    StepFailure::of(error, cx.unit.as_ref().is_some_and(|unit| unit.in_vain))
}

/// Makes a stored change of a stored context.
pub(crate) fn apply<C: SagaContext, O: Changes<C, How, Patch = P>, P: Change, How>(
    context: &[u8],
    patch: &[u8],
) -> Result<Vec<u8>, BoxError> {
    let mut value: C = read(context)?;
    O::make(&mut value, read(patch)?);
    write(&value)
}

pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, BoxError> {
    serde_json::from_slice(bytes).map_err(|error| {
        Told(format!("cannot read `{}` from what is stored: {error}", std::any::type_name::<T>())).into()
    })
}

/// Reads what is stored of a saga of some version.
pub(crate) fn read_as<C: SagaContext>(version: u32, bytes: &[u8]) -> Result<C, SagaError> {
    let spec = C::ITEM.context;
    if spec.version == version {
        return read(bytes).map_err(|source| SagaError::Context { source });
    }
    if !spec.reads(version) {
        return Err(SagaError::UnknownVersion { saga: spec.name.to_owned(), version });
    }
    let value = caught(|| spec.read(version, &|spec| spec.codec.decoder(spec.name, false), bytes));
    let value = value.map_err(|panic| Told(format!("making it version {}'s panicked: {panic}", spec.version)).into());
    let value =
        value.and_then(|value| value.map_err(BoxError::from)).map_err(|source| SagaError::Context { source })?;
    let wrong = || SagaError::Context { source: Told(format!("the value is not a `{}`", spec.name)).into() };
    Arc::into_inner(value.downcast::<C>().map_err(|_| wrong())?).ok_or_else(wrong)
}

pub(crate) fn write<T: Serialize>(value: &T) -> Result<Vec<u8>, BoxError> {
    serde_json::to_vec(value)
        .map_err(|error| Told(format!("cannot write `{}`: {error}", std::any::type_name::<T>())).into())
}
