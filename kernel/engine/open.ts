/** Opens tensor engines by name. */
import type { Engine } from './engine.ts';
import { availableThreads, NativeEngine } from './native/native-engine.ts';

/** Which engine, and how many threads. */
export interface EngineSettings {
  readonly type: 'native';
  /** Default: the CPUs that the process may use, shared out evenly among `sharers`. */
  readonly threads?: number;
  /** Processes that compute at once on this machine. Default 1. */
  readonly sharers?: number;
}

/** A new engine; the caller disposes of it. Throws when it is not built or `threads` is not a positive whole number. */
export function openEngine(settings: EngineSettings): Engine {
  const { sharers = 1 } = settings;
  const share = sharers > 1 ? Math.max(1, Math.floor(availableThreads() / sharers)) : undefined;
  return new NativeEngine(settings.threads ?? share);
}
