//! What JavaScript sees: `NativeEngine`, whose methods queue calls, and `Region`, a piece of tensor memory.
//! Shapes, types and overlaps are checked by the caller (native-engine.ts), lengths once more by each operation.

#![cfg_attr(test, allow(dead_code))] // Exported to JavaScript only.

use crate::engine::{Engine, State};
use crate::event::Event;
use crate::memory::{DataType, Memory, Region as Slot};
use crate::ops::adamw::AdamW;
use crate::ops::attention::Shape;
use crate::ops::cross_entropy::Gradients;
use crate::ops::dropout::Dropout;
use crate::ops::gelu::Activation;
use crate::ops::linear::Sizes;
use crate::ops::philox::Key;
use crate::ops::vocabulary_part::{PartGradients, PartOfHead};
use crate::ops::{
    adamw, attention, cross_entropy, dropout, elementwise, embedding, layer_norm, linear, norm, random,
    vocabulary_part,
};
use crate::product::{Precision, Store, peak};
use crate::simd::{Level, level};
use napi::bindgen_prelude::{Env, Error, Float64Array, Object, Result, Status, Uint8Array};
use napi_derive::napi;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

/// A range of an allocation. The allocation lives as long as a region or a queued call refers to it.
#[napi]
pub struct Region(pub(crate) Slot);

#[napi]
impl Region {
    /// `length` elements from `offset` of this region's allocation.
    #[napi]
    pub fn view(&self, offset: i64, length: i64) -> Result<Region> {
        let region = usize::try_from(offset)
            .ok()
            .zip(usize::try_from(length).ok())
            .and_then(|(offset, length)| Slot::new(self.0.memory().clone(), self.0.kind(), offset, length));
        region
            .map(Region)
            .ok_or_else(|| Error::new(Status::InvalidArg, "The view lies outside the allocation"))
    }
}

/// Random numbers as JavaScript names them; all below 2^53.
#[napi(object)]
pub struct RandomKey {
    /// Seed of the run.
    pub seed: i64,
    /// Which of the seed's streams.
    pub stream: i64,
    /// Position of the tensor's first element.
    pub offset: i64,
    /// For dropout: share of elements dropped.
    pub probability: Option<f64>,
}

impl RandomKey {
    fn key(&self) -> Key {
        Key { seed: self.seed as u64, stream: self.stream as u64, offset: self.offset as u64 }
    }

    fn dropout(&self) -> Dropout {
        Dropout { key: self.key(), probability: self.probability.unwrap_or(0.0) }
    }
}

/// AdamWSettings of engine.ts.
#[napi(object)]
pub struct AdamWSettings {
    /// Step size.
    pub learning_rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Counts from 1.
    pub step: f64,
}

/// A point in the queue of an engine or of a collective.
#[napi]
pub struct QueueEvent(pub(crate) Event);

#[napi]
impl QueueEvent {
    /// Whether everything queued before it has run.
    #[napi(getter)]
    pub fn happened(&self) -> bool {
        self.0.happened()
    }
}

/// The queue of one engine. Every method but `read` and `finish` returns before the call has run.
#[napi]
pub struct NativeEngine {
    engine: Option<Engine>,
    allocations: Vec<Weak<Memory>>,
    /// Nanoseconds that the queue has stood still for events.
    waited: Arc<AtomicU64>,
}

/// CPUs that this process may use: its affinity and the limits of its control group.
#[napi]
pub fn available_threads() -> u32 {
    std::thread::available_parallelism().map_or(1, |count| count.get() as u32)
}

/// The instruction set that the kernels use: "avx512", "avx2" or "portable".
#[napi]
pub fn instructions() -> &'static str {
    level().name()
}

/// The instruction sets that `GPT_LAB_INSTRUCTIONS` may force on this machine, best first.
#[napi]
pub fn instruction_sets() -> Vec<&'static str> {
    Level::available().map(Level::name).collect()
}

#[napi]
impl NativeEngine {
    /// Starts the engine's threads.
    #[napi(constructor)]
    pub fn new(threads: u32) -> Result<Self> {
        let engine = Engine::start(threads.max(1) as usize).map_err(Error::from_reason)?;
        Ok(Self { engine: Some(engine), allocations: Vec::new(), waited: Arc::default() })
    }

    /// Threads that work on a call.
    #[napi(getter)]
    pub fn threads(&self) -> u32 {
        self.engine.as_ref().map_or(0, |engine| engine.threads() as u32)
    }

    fn queue(
        &self,
        call: impl FnOnce(&mut State) -> std::result::Result<(), String> + Send + 'static,
    ) -> Result<()> {
        match &self.engine {
            Some(engine) => {
                engine.queue(call);
                Ok(())
            }
            None => Err(Error::from_reason("The engine has been disposed")),
        }
    }

    /// Zeroed memory for `length` elements of type "f32", "bf16" or "i32"; of a file in `directory` where one is given.
    #[napi]
    pub fn allocate(&mut self, kind: String, length: i64, directory: Option<String>) -> Result<Region> {
        let kind = match kind.as_str() {
            "bf16" => DataType::Bf16,
            "i32" => DataType::I32,
            _ => DataType::F32,
        };
        let bytes = usize::try_from(length).ok().and_then(|length| length.checked_mul(kind.size()));
        let failed = |cause: String| {
            Error::from_reason(format!("{cause}: a tensor of {length} elements could not be allocated"))
        };
        let memory = match (bytes, directory) {
            (Some(bytes), Some(directory)) => Memory::on_disk(bytes, directory.as_ref())
                .map_err(|error| failed(format!("{directory}: {error}")))?,
            (Some(bytes), None) => Memory::new(bytes).ok_or_else(|| failed("Out of memory".into()))?,
            (None, _) => return Err(failed("Out of memory".into())),
        };
        let memory = Arc::new(memory);
        if self.allocations.len() == self.allocations.capacity() {
            self.allocations.retain(|weak| weak.strong_count() > 0);
        }
        self.allocations.push(Arc::downgrade(&memory));
        let length = length as usize;
        Slot::new(memory, kind, 0, length).map(Region).ok_or_else(|| Error::from_reason("Unreachable length"))
    }

    /// Frees the allocation after the calls queued so far.
    #[napi]
    pub fn release(&self, region: &Region) -> Result<()> {
        let memory = region.0.memory().clone();
        self.queue(move |_| {
            memory.free();
            Ok(())
        })
    }

    /// Gives back the pages of memory on disk after the calls queued so far.
    #[napi]
    pub fn evict(&self, region: &Region) -> Result<()> {
        let region = region.0.clone();
        self.queue(move |_| {
            region.evict();
            Ok(())
        })
    }

    /// Copies `values` now and into the region in queue order.
    #[napi]
    pub fn write(&self, region: &Region, values: &[u8]) -> Result<()> {
        let (region, values) = (region.0.clone(), values.to_vec());
        self.queue(move |_| {
            elementwise::copy(unsafe { region.bytes_mut() }, &values);
            Ok(())
        })
    }

    /// Fills `target` (which nobody else may touch until then) after the calls queued so far.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn read<'env>(&self, env: &'env Env, region: &Region, target: Uint8Array) -> Result<Object<'env>> {
        let region = region.0.clone();
        self.answer(env, move |state| {
            let mut target = target;
            state.take_error()?;
            elementwise::copy(unsafe { target.as_mut() }, unsafe { region.bytes_mut() });
            Ok(target)
        })
    }

    /// Resolves after the calls queued so far, rejects with the first error among them.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn finish<'env>(&self, env: &'env Env) -> Result<Object<'env>> {
        self.answer(env, State::take_error)
    }

    /// Writes the floating-point operations a second that products reach in the caches, in f32 and with bf16 factors, to
    /// `target` (two f64 numbers). For benchmarks: it takes half a second.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn measure_peaks<'env>(&self, env: &'env Env, target: Float64Array) -> Result<Object<'env>> {
        self.answer(env, move |_| {
            let mut target = target;
            let rates = [peak(Precision::F32), peak(Precision::Bf16)];
            unsafe { target.as_mut() }.copy_from_slice(&rates);
            Ok(target)
        })
    }

    /// The point that the queue has reached when everything queued so far has run.
    #[napi]
    pub fn record(&self) -> Result<QueueEvent> {
        let (event, signal) = Event::new();
        self.queue(move |_| {
            signal.set(Ok(()));
            Ok(())
        })?;
        Ok(QueueEvent(event))
    }

    /// Calls queued later run after the event; its error becomes the queue's.
    #[napi]
    pub fn wait(&self, event: &QueueEvent) -> Result<()> {
        let (event, waited) = (event.0.clone(), self.waited.clone());
        self.queue(move |_| {
            let start = Instant::now();
            let result = event.wait();
            waited.fetch_add(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
            result
        })
    }

    /// Seconds that the queue has stood still for events.
    #[napi(getter)]
    pub fn waited_seconds(&self) -> f64 {
        self.waited.load(Ordering::Relaxed) as f64 / 1e9
    }

    /// A promise settled by `call` in queue order. What the call returns is dropped on JavaScript's thread.
    fn answer<'env, T: Send + 'static>(
        &self,
        env: &'env Env,
        call: impl FnOnce(&mut State) -> std::result::Result<T, String> + Send + 'static,
    ) -> Result<Object<'env>> {
        let (deferred, promise) = env.create_deferred()?;
        self.queue(move |state| {
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| call(state)))
                .unwrap_or_else(|_| Err("Internal error in the engine: a tensor could not be read".into()));
            match result {
                Ok(kept) => deferred.resolve(move |_| {
                    drop(kept);
                    Ok(())
                }),
                Err(error) => deferred.reject(Error::from_reason(error)),
            }
            Ok(())
        })?;
        Ok(promise)
    }

    /// Frees everything and ends the threads after the calls queued so far.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn dispose<'env>(&mut self, env: &'env Env) -> Result<Object<'env>> {
        let (deferred, promise) = env.create_deferred()?;
        let allocations = std::mem::take(&mut self.allocations);
        let settle = move || {
            allocations.iter().filter_map(Weak::upgrade).for_each(|memory| memory.free());
            deferred.resolve(|_| Ok(()));
        };
        match self.engine.take() {
            Some(engine) => engine.stop(settle),
            None => settle(),
        }
        Ok(promise)
    }
}

/// Defines methods that queue a call: regions come in as handles and are slices inside the call's expression.
macro_rules! operations {
    ($($(#[$meta:meta])* fn $name:ident($($region:ident),* $(; $($scalar:ident: $type:ty),+)?) => $call:expr;)*) => {
        #[napi]
        impl NativeEngine {
            $(
                $(#[$meta])*
                #[napi]
                pub fn $name(&self, $($region: &Region,)* $($($scalar: $type,)+)?) -> Result<()> {
                    $(let $region = $region.0.clone();)*
                    self.queue(move |_| {
                        // Safety: queued calls run one at a time, and the caller has checked that outputs overlap nothing.
                        #[allow(unused_unsafe)]
                        unsafe { $call };
                        Ok(())
                    })
                }
            )*
        }
    };
}

operations! {
    /// out = value
    fn fill(out; value: f64) => elementwise::fill(out.floats_mut(), value as f32);
    /// out = x, between types of real numbers too
    fn copy(out, x) => {
        if out.kind() == x.kind() {
            elementwise::copy(out.bytes_mut(), x.bytes_mut());
        } else {
            elementwise::convert(out.target(), x.values());
        }
    };
    /// out = a + b
    fn add(out, a, b) => {
        assert!(out.len() == a.len() && out.len() == b.len());
        elementwise::add(out.floats_mut().as_mut_ptr(), a.floats().as_ptr(), b.floats().as_ptr(), out.len());
    };
    /// out = x * factor
    fn scale(out, x; factor: f64) => {
        assert!(out.len() == x.len());
        elementwise::scale(out.floats_mut().as_mut_ptr(), x.floats().as_ptr(), factor as f32, out.len());
    };
    /// out ~ N(0, deviation²)
    fn random_normal(out; deviation: f64, key: RandomKey) => {
        random::random_normal(out.floats_mut(), deviation, key.key());
    };
    /// out = dropout(x)
    fn dropout(out, x; key: RandomKey) => {
        assert!(out.len() == x.len());
        dropout::dropout(out.floats_mut().as_mut_ptr(), x.floats().as_ptr(), out.len(), key.dropout());
    };
    /// Layer norm of rows as long as gamma
    fn layer_norm(out, mean, rstd, x, gamma, beta) => {
        layer_norm::layer_norm(
            out.target(), mean.floats_mut(), rstd.floats_mut(), x.floats(), gamma.floats(), beta.floats(),
        );
    };
    /// sum = residual + x, out = layer norm of sum
    fn add_layer_norm(sum, out, mean, rstd, residual, x, gamma, beta) => {
        assert!(sum.len() == out.len() && residual.len() == out.len());
        layer_norm::add_layer_norm(
            sum.floats_mut().as_mut_ptr(), out.target(), mean.floats_mut(), rstd.floats_mut(),
            residual.floats().as_ptr(), x.floats(), gamma.floats(), beta.floats(),
        );
    };
    /// dx, dgamma, dbeta += gradients of layer norm
    fn layer_norm_backward(dx, dgamma, dbeta, dout, x, mean, rstd, gamma) => {
        layer_norm::layer_norm_backward(
            dx.floats_mut(), dgamma.floats_mut(), dbeta.floats_mut(), dout.floats(), x.floats(), mean.floats(),
            rstd.floats(), gamma.floats(),
        );
    };
    /// Attention of new tokens against a cache of `maximum` tokens a sequence
    fn cached_attention(out, qkv, keys, values; b: u32, count: u32, h: u32, c: u32, position: u32, maximum: u32) => {
        let shape = Shape { b: b as usize, t: count as usize, h: h as usize, c: c as usize };
        attention::cached_attention(
            out.floats_mut(), qkv.floats(), keys.floats_mut(), values.floats_mut(), shape, position as usize,
            maximum as usize,
        );
    };
    /// sums *= e^(maxima - maximum)
    fn rescale_sums(sums, maxima, maximum) => {
        assert!(maxima.len() == sums.len() && maximum.len() == sums.len());
        vocabulary_part::rescale(sums.floats_mut(), maxima.floats(), maximum.floats());
    };
    /// losses from the sums over all parts of a vocabulary
    fn vocabulary_losses(losses, maximum, sums, target_logits, targets) => {
        assert!([&maximum, &sums, &target_logits, &targets].iter().all(|each| each.len() == losses.len()));
        vocabulary_part::losses(
            losses.floats_mut(), maximum.floats(), sums.floats(), target_logits.floats(), targets.integers(),
        );
    };
    /// out[0] += sum of squares of x
    fn squared_norm(out, x) => {
        let sum = norm::squared_norm(x.floats());
        out.floats_mut()[0] = (f64::from(out.floats()[0]) + sum) as f32;
    };
    /// factor[0] = min(1, maximum / (sqrt(squared[0]) + 1e-6))
    fn clip_factor(factor, squared; maximum: f64) => {
        factor.floats_mut()[0] = norm::clip_factor(squared.floats()[0], maximum);
    };
}

fn slot(region: Option<&Region>) -> Option<Slot> {
    region.map(|region| region.0.clone())
}

/// Calls with regions that may be missing, an error of their own or scratch memory. In all of them queued calls run
/// one at a time, and the caller has checked that outputs overlap nothing: hence `unsafe`.
#[napi]
impl NativeEngine {
    /// out = wte[tokens] + wpe[position]
    #[napi]
    pub fn embedding(
        &self,
        out: &Region,
        tokens: &Region,
        wte: &Region,
        wpe: Option<&Region>,
        t: u32,
        first_position: u32,
        c: u32,
    ) -> Result<()> {
        let (out, tokens, wte, wpe) = (out.0.clone(), tokens.0.clone(), wte.0.clone(), slot(wpe));
        self.queue(move |_| unsafe {
            let (t, first, c) = (t as usize, first_position as usize, c as usize);
            let wpe = wpe.as_ref().map(|wpe| wpe.floats());
            embedding::embedding(out.floats_mut(), tokens.integers(), wte.floats(), wpe, t, first, c)
        })
    }

    /// dwte, dwpe += rows of dout
    #[napi]
    pub fn embedding_backward(
        &self,
        dwte: &Region,
        dwpe: &Region,
        dout: &Region,
        tokens: &Region,
        t: u32,
        c: u32,
    ) -> Result<()> {
        let (dwte, dwpe, dout, tokens) = (dwte.0.clone(), dwpe.0.clone(), dout.0.clone(), tokens.0.clone());
        self.queue(move |_| unsafe {
            let (t, c) = (t as usize, c as usize);
            embedding::embedding_backward(
                dwte.floats_mut(),
                dwpe.floats_mut(),
                dout.floats(),
                tokens.integers(),
                t,
                c,
            )
        })
    }

    /// out [n,o] = x [n,i] · w [i,o] + bias
    #[napi]
    pub fn linear(
        &self,
        out: &Region,
        x: &Region,
        w: &Region,
        bias: Option<&Region>,
        n: u32,
        i: u32,
        o: u32,
    ) -> Result<()> {
        let (out, x, w, bias) = (out.0.clone(), x.0.clone(), w.0.clone(), slot(bias));
        self.queue(move |state| unsafe {
            let (bias, packed) = (bias.as_ref().map(|bias| bias.floats()), &mut state.scratch.packed);
            linear::linear(out.target(), x.values(), w.values(), bias, sizes(n, i, o), packed);
            Ok(())
        })
    }

    /// pre = x·w + bias, out = GELU(pre)
    #[napi]
    pub fn linear_activation(
        &self,
        out: &Region,
        pre: Option<&Region>,
        x: &Region,
        w: &Region,
        bias: Option<&Region>,
        erf: bool,
        n: u32,
        i: u32,
        o: u32,
    ) -> Result<()> {
        let (out, pre, x, w, bias) = (out.0.clone(), slot(pre), x.0.clone(), w.0.clone(), slot(bias));
        self.queue(move |state| unsafe {
            linear::linear_activation(
                out.target(),
                pre.as_ref().map(|pre| pre.target()),
                x.values(),
                w.values(),
                bias.as_ref().map(|bias| bias.floats()),
                activation(erf),
                sizes(n, i, o),
                &mut state.scratch.packed,
            );
            Ok(())
        })
    }

    /// dx = dout · wᵀ, times GELU'(pre) where one is given, which becomes GELU(pre)
    #[napi]
    pub fn linear_input_gradient(
        &self,
        dx: &Region,
        dout: &Region,
        w: &Region,
        pre: Option<&Region>,
        erf: bool,
        n: u32,
        i: u32,
        o: u32,
    ) -> Result<()> {
        let (dx, dout, w, pre) = (dx.0.clone(), dout.0.clone(), w.0.clone(), slot(pre));
        self.queue(move |state| unsafe {
            let (dx, dout, w) = (dx.target(), dout.values(), w.values());
            let pre = pre.as_ref().map(|pre| (pre.target(), activation(erf)));
            linear::linear_input_gradient(dx, dout, w, pre, sizes(n, i, o), &mut state.scratch.packed);
            Ok(())
        })
    }

    /// dw += xᵀ · dout, dbias += column sums of dout; with `fresh` they are overwritten
    #[napi]
    pub fn linear_weight_gradient(
        &self,
        dw: &Region,
        dbias: Option<&Region>,
        x: &Region,
        dout: &Region,
        fresh: bool,
        n: u32,
        i: u32,
        o: u32,
    ) -> Result<()> {
        let (dw, dbias, x, dout) = (dw.0.clone(), slot(dbias), x.0.clone(), dout.0.clone());
        self.queue(move |state| unsafe {
            let dbias = dbias.as_ref().map(|dbias| dbias.floats_mut());
            let (x, dout, packed) = (x.values(), dout.values(), &mut state.scratch.packed);
            let mode = if fresh { Store::Replace } else { Store::Add };
            linear::linear_weight_gradient(dw.floats_mut(), dbias, x, dout, mode, sizes(n, i, o), packed);
            Ok(())
        })
    }

    /// out [n,v] = x [n,c] · wheadᵀ
    #[napi]
    pub fn logits(&self, out: &Region, x: &Region, whead: &Region, n: u32, c: u32) -> Result<()> {
        let (out, x, whead) = (out.0.clone(), x.0.clone(), whead.0.clone());
        self.queue(move |state| unsafe {
            let (n, c) = (n as usize, c as usize);
            cross_entropy::logits(out.floats_mut(), x.values(), whead.values(), n, c, &mut state.scratch);
            Ok(())
        })
    }

    /// Causal attention of qkv [b*t,3c]
    #[napi]
    pub fn attention(
        &self,
        out: &Region,
        log_sum_exp: &Region,
        qkv: &Region,
        b: u32,
        t: u32,
        h: u32,
        c: u32,
        dropout: Option<RandomKey>,
    ) -> Result<()> {
        let (out, log_sum_exp, qkv) = (out.0.clone(), log_sum_exp.0.clone(), qkv.0.clone());
        let shape = Shape { b: b as usize, t: t as usize, h: h as usize, c: c as usize };
        self.queue(move |_| unsafe {
            let dropout = dropout.map(|key| key.dropout());
            attention::attention(out.target(), log_sum_exp.floats_mut(), qkv.values(), shape, dropout);
            Ok(())
        })
    }

    /// dqkv of the same
    #[napi]
    pub fn attention_backward(
        &self,
        dqkv: &Region,
        dout: &Region,
        out: &Region,
        log_sum_exp: &Region,
        qkv: &Region,
        b: u32,
        t: u32,
        h: u32,
        c: u32,
        dropout: Option<RandomKey>,
    ) -> Result<()> {
        let (dqkv, dout, out) = (dqkv.0.clone(), dout.0.clone(), out.0.clone());
        let (log_sum_exp, qkv) = (log_sum_exp.0.clone(), qkv.0.clone());
        let shape = Shape { b: b as usize, t: t as usize, h: h as usize, c: c as usize };
        self.queue(move |_| unsafe {
            attention::attention_backward(
                dqkv.target(),
                dout.values(),
                out.values(),
                log_sum_exp.floats(),
                qkv.values(),
                shape,
                dropout.map(|key| key.dropout()),
            );
            Ok(())
        })
    }

    /// losses of x · wheadᵀ against targets; with dx and dwhead also their gradients
    #[napi]
    pub fn cross_entropy(
        &self,
        losses: &Region,
        x: &Region,
        whead: &Region,
        targets: &Region,
        c: u32,
        dx: Option<&Region>,
        dwhead: Option<&Region>,
        scale: f64,
        fresh: bool,
    ) -> Result<()> {
        let (losses, x, whead, targets) = (losses.0.clone(), x.0.clone(), whead.0.clone(), targets.0.clone());
        let gradients = slot(dx).zip(slot(dwhead));
        self.queue(move |state| unsafe {
            let gradients = gradients.as_ref().map(|(dx, dwhead)| Gradients {
                dx: dx.target(),
                dwhead: dwhead.floats_mut(),
                scale: scale as f32,
                store: if fresh { Store::Replace } else { Store::Add },
            });
            cross_entropy::cross_entropy(
                losses.floats_mut(),
                x.values(),
                whead.values(),
                targets.integers(),
                gradients,
                &mut state.scratch,
                c as usize,
            )
        })
    }

    /// What a part of the vocabulary adds to the softmax
    #[napi]
    pub fn vocabulary_part(
        &self,
        maxima: &Region,
        sums: &Region,
        target_logits: &Region,
        x: &Region,
        whead: &Region,
        targets: &Region,
        c: u32,
    ) -> Result<()> {
        let outputs = [maxima.0.clone(), sums.0.clone(), target_logits.0.clone()];
        let (x, whead, targets) = (x.0.clone(), whead.0.clone(), targets.0.clone());
        self.queue(move |state| unsafe {
            let outputs = outputs.each_ref().map(|output| output.floats_mut());
            let (x, whead, targets) = (x.values(), whead.values(), targets.integers());
            let head = PartOfHead { x, whead, targets, c: c as usize };
            vocabulary_part::statistics(outputs, head, &mut state.scratch)
        })
    }

    /// Gradients of a part of the vocabulary
    #[napi]
    pub fn vocabulary_part_backward(
        &self,
        dx: &Region,
        dwhead: &Region,
        x: &Region,
        whead: &Region,
        targets: &Region,
        losses: &Region,
        maximum: &Region,
        sums: &Region,
        c: u32,
        scale: f64,
        fresh: bool,
    ) -> Result<()> {
        let (dx, dwhead, x, whead) = (dx.0.clone(), dwhead.0.clone(), x.0.clone(), whead.0.clone());
        let (targets, losses) = (targets.0.clone(), losses.0.clone());
        let (maximum, sums) = (maximum.0.clone(), sums.0.clone());
        self.queue(move |state| unsafe {
            let (x, whead, targets) = (x.values(), whead.values(), targets.integers());
            let head = PartOfHead { x, whead, targets, c: c as usize };
            let gradients = PartGradients {
                dx: dx.target(),
                dwhead: dwhead.floats_mut(),
                losses: losses.floats(),
                maximum: maximum.floats(),
                sums: sums.floats(),
                scale: scale as f32,
                store: if fresh { Store::Replace } else { Store::Add },
            };
            vocabulary_part::backward(head, gradients, &mut state.scratch)
        })
    }

    /// One AdamW step
    #[napi]
    pub fn adamw(
        &self,
        parameters: &Region,
        gradients: &Region,
        m: &Region,
        v: &Region,
        factor: Option<&Region>,
        settings: AdamWSettings,
    ) -> Result<()> {
        let (parameters, gradients) = (parameters.0.clone(), gradients.0.clone());
        let (m, v, factor) = (m.0.clone(), v.0.clone(), slot(factor));
        let settings = AdamW {
            learning_rate: settings.learning_rate,
            beta1: settings.beta1,
            beta2: settings.beta2,
            epsilon: settings.epsilon,
            weight_decay: settings.weight_decay,
            step: settings.step,
        };
        self.queue(move |_| unsafe {
            let factor = factor.map_or(1.0, |factor| factor.floats()[0]);
            let (parameters, gradients) = (parameters.floats_mut(), gradients.floats());
            adamw::adamw(parameters, gradients, m.floats_mut(), v.floats_mut(), factor, settings);
            Ok(())
        })
    }
}

fn sizes(n: u32, i: u32, o: u32) -> Sizes {
    Sizes { n: n as usize, i: i as usize, o: o as usize }
}

fn activation(erf: bool) -> Activation {
    if erf { Activation::GeluErf } else { Activation::GeluTanh }
}
