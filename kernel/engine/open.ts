/** Opens tensor engines by name. */
import type { Engine } from './engine.ts';
import { NativeEngine } from './native/native-engine.ts';

/** Which engine, and how many threads (default: the CPUs that the process may use). */
export interface EngineSettings {
  readonly type: 'native';
  readonly threads?: number;
}

/** A new engine; the caller disposes of it. Throws when it is not built or `threads` is not a positive whole number. */
export function openEngine(settings: EngineSettings): Engine {
  return new NativeEngine(settings.threads);
}
