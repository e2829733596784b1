/** Whether Enter should run a cell or go on to another line, as `jupyter console` asks. */
import ts from 'typescript';

/** The answer, as Jupyter words it. */
export type Completeness =
  | { readonly status: 'complete' | 'invalid' }
  /** `indent` is what the next line should begin with. */
  | { readonly status: 'incomplete'; readonly indent: string };

/** Mistakes that more text mends wherever they begin: unterminated templates and block comments. */
const MENDABLE = new Set([1160, 1010]);
/** A quoted string cannot go on in the next line. */
const UNTERMINATED_STRING = 1002;

/** `incomplete` when all that is wrong is that the code ends too early. */
export function completeness(code: string): Completeness {
  const { diagnostics = [] } = ts.transpileModule(code, {
    reportDiagnostics: true,
    compilerOptions: { target: ts.ScriptTarget.ESNext, module: ts.ModuleKind.ESNext },
  });
  const problems = diagnostics.filter(({ category }) => category === ts.DiagnosticCategory.Error);
  if (problems.length === 0) return { status: 'complete' };
  const end = code.trimEnd().length;
  const endsTooEarly = problems.every(
    ({ start = 0, code: kind }) => MENDABLE.has(kind) || (start >= end && kind !== UNTERMINATED_STRING),
  );
  return endsTooEarly ? { status: 'incomplete', indent: nextIndent(code) } : { status: 'invalid' };
}

/** The last line's indentation, and two more columns after an opening bracket. */
function nextIndent(code: string): string {
  const last = code.trimEnd().split('\n').at(-1) ?? '';
  const indent = /^\s*/.exec(last)?.[0] ?? '';
  return /[{([]$/.test(last) ? `${indent}  ` : indent;
}
