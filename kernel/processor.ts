/** The processor of this machine, as measurements are labelled with it and found again by it. */
import { cpus } from 'node:os';

/** Its model; `unknown` where the system does not tell. */
export function processorName(): string {
  return cpus()[0]?.model.trim() ?? 'unknown';
}
