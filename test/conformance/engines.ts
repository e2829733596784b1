/** The engines that must agree with the float64 oracle: a new one joins by one entry. */
import type { Engine } from '../../kernel/engine/engine.ts';
import { openEngine } from '../../kernel/engine/open.ts';

/** How the tests open one engine, and what may be expected of it. */
export interface EngineUnderTest {
  readonly name: string;
  /** A new engine on `threads` threads; the caller disposes of it. */
  open(threads: number): Engine;
  /** Results with another number of threads: bitwise the same, or only to 1e-6 of their scale. */
  readonly acrossThreads: 'bitwise' | 'close';
}

export const engines: readonly EngineUnderTest[] = [
  { name: 'native', open: (threads) => openEngine({ type: 'native', threads }), acrossThreads: 'bitwise' },
];
