/** Evaluation in REPL mode, which only V8's inspector offers: names live on, and may be declared again. */
import { Session, type Runtime } from 'node:inspector';

const session = new Session();
session.connect();

const HOLDER = 'gpt-lab.value';

/** What a script has thrown, which may be anything, and where. Lines and columns count from 0. */
export class Thrown extends Error {
  readonly value: unknown;
  readonly place: { readonly name: string; readonly line: number; readonly column: number } | undefined;

  constructor(value: unknown, place: Thrown['place']) {
    super('A cell has thrown something');
    this.value = value;
    this.place = place;
  }
}

/** Runs a script called `name`; resolves to its value. Throws Thrown. */
export async function evaluate(script: string, name: string): Promise<unknown> {
  const reply = await post(`${script}\n//# sourceURL=${name}`);
  const { exceptionDetails: details } = reply;
  if (!details) return valueOf(reply.result);
  const { scriptId, lineNumber, columnNumber, exception } = details;
  // It is right for mistakes in the syntax alone, which have no stack.
  const isKnown = exception?.className === 'SyntaxError' && scriptId !== undefined;
  const place = isKnown ? { name, line: lineNumber, column: columnNumber } : undefined;
  throw new Thrown(exception && valueOf(exception), place);
}

function post(expression: string): Promise<Runtime.EvaluateReturnType> {
  const parameters = { expression, replMode: true, awaitPromise: true };
  return new Promise((resolve, reject) => {
    session.post(
      'Runtime.evaluate',
      parameters as Runtime.EvaluateParameterType,
      (error: Error | null, reply) => {
        if (error) reject(error);
        else resolve(reply);
      },
    );
  });
}

/** The value behind the inspector's description of it. */
function valueOf({ type, value, unserializableValue, objectId }: Runtime.RemoteObject): unknown {
  if (unserializableValue !== undefined)
    return type === 'bigint' ? BigInt(unserializableValue.slice(0, -1)) : Number(unserializableValue);
  if (objectId === undefined) return value;
  // Only a function that the inspector calls gets hold of the object itself.
  const functionDeclaration = `function () { 'use strict'; globalThis[Symbol.for('${HOLDER}')] = this; }`;
  const place = globalThis as Record<symbol, unknown>;
  const holder = Symbol.for(HOLDER);
  session.post('Runtime.callFunctionOn', { objectId, functionDeclaration, silent: true });
  const object = place[holder];
  place[holder] = undefined;
  session.post('Runtime.releaseObject', { objectId });
  return object;
}
