/** What a value has at this moment, where its type says nothing: parsed JSON, packages without types. */
import { Session, type Runtime } from 'node:inspector';

const session = new Session();
session.connect();

/** Called on a value: the names of its own members and of those that it inherits, but for what every object has. */
const COLLECT = `function () {
  const names = new Set();
  for (let at = Object(this); at && at !== Object.prototype; at = Object.getPrototypeOf(at))
    for (const name of Object.getOwnPropertyNames(at)) names.add(name);
  return [...names];
}`;

/** Members of the value of an expression, by names that may follow a dot; none where looking at it would change something. */
export function liveMembers(expression: string): string[] {
  let members: string[] = [];
  // Both are answered before they return: nothing in them waits.
  const safely = { silent: true, throwOnSideEffect: true };
  session.post('Runtime.evaluate', { expression, ...safely }, (_, reply: Runtime.EvaluateReturnType) => {
    const { objectId } = reply.result;
    if (reply.exceptionDetails || objectId === undefined) return;
    session.post(
      'Runtime.callFunctionOn',
      { objectId, functionDeclaration: COLLECT, returnByValue: true, ...safely },
      (_, { result }: Runtime.CallFunctionOnReturnType) => {
        if (Array.isArray(result.value)) members = result.value as string[];
      },
    );
    session.post('Runtime.releaseObject', { objectId });
  });
  return members.filter(
    (name) => name !== 'constructor' && /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(name),
  );
}
