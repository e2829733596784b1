/** Questions of cells to whoever sits before them. */
import { currentRequest } from './current-request.ts';
import type { RunnerCommand } from './messages.ts';
import { report } from './report.ts';

/** There is nobody to ask, and why. */
export class NoInput extends Error {
  override readonly name = 'NoInput';
}

type Answer = Extract<RunnerCommand, { type: 'input' }>;

const waiting = new Map<number, (answer: Answer) => void>();
let asked = 0;

/** Asks for a line of text; `password` hides it while it is typed. Rejects with NoInput where nobody can answer. */
export async function prompt(question = '', { password = false } = {}): Promise<string> {
  const id = ++asked;
  const answer = new Promise<Answer>((resolve) => waiting.set(id, resolve));
  report({ type: 'input', request: currentRequest(), id, question, password });
  const { value, refusal } = await answer;
  if (value === undefined) throw new NoInput(refusal);
  return value;
}

/** Asks a question whose answer is yes or no. Rejects with NoInput where nobody can answer. */
export async function confirm(question = ''): Promise<boolean> {
  return /^\s*y(es)?\s*$/i.test(await prompt(`${question} [y/n] `));
}

/** Hands the supervisor's answer to the question that it belongs to. */
export function takeAnswer(answer: Answer): void {
  waiting.get(answer.id)?.(answer);
  waiting.delete(answer.id);
}
