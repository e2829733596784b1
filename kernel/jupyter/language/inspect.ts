/** Inspection: what the thing at the cursor is. */
import ts from 'typescript';
import { documentationOf } from './documentation.ts';
import type { Inspection } from './messages.ts';
import type { AskedCell } from './notebook-scope.ts';
import { signatureHelp } from './signatures.ts';

/** The name at the cursor or just before it; otherwise the function whose call the cursor is in. */
export function inspect(cell: AskedCell): Inspection | null {
  const { position, offset } = cell;
  const info = infoAt(cell, position) ?? (position > offset ? infoAt(cell, position - 1) : undefined);
  if (info)
    return {
      signature: withoutAlias(ts.displayPartsToString(info.displayParts)),
      documentation: documentationOf(info),
    };
  const call = signatureHelp(cell);
  const signature = call?.signatures[call.activeSignature];
  return signature ? { signature: signature.label, documentation: signature.documentation } : null;
}

function infoAt({ service, file, offset, scope }: AskedCell, position: number): ts.QuickInfo | undefined {
  const info = service.getQuickInfoAtPosition(file, position);
  if (!info || info.textSpan.start < offset) return undefined;
  const [definition] = service.getDefinitionAtPosition(file, position) ?? [];
  if (definition?.fileName !== file || definition.textSpan.start >= offset) return info;
  // It stands for a variable of another cell, which is where its documentation is.
  const { start, length } = info.textSpan;
  const text = (path: string): string => service.getProgram()?.getSourceFile(path)?.text ?? '';
  const origin = scope.get(text(file).slice(start, start + length));
  if (!origin) return info;
  const path = `${origin.module.path}.ts`;
  const begin = text(path).indexOf(origin.module.source);
  return service.getQuickInfoAtPosition(path, begin + origin.position) ?? info;
}

/** What is imported shows as itself. */
function withoutAlias(signature: string): string {
  return signature.replace(/^\(alias\) /, '').replace(/\nimport [^\n]*$/, '');
}
