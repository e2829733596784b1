/** Signature help: the parameters of the call that is being written. */
import ts from 'typescript';
import { documentationOf } from './documentation.ts';
import type { SignatureHelp } from './messages.ts';
import type { AskedCell } from './notebook-scope.ts';

/** The call around the cursor. */
export function signatureHelp({
  service,
  file,
  position,
}: Pick<AskedCell, 'service' | 'file' | 'position'>): SignatureHelp | null {
  const help = service.getSignatureHelpItems(file, position, {});
  if (!help) return null;
  const text = (parts: ts.SymbolDisplayPart[]): string => ts.displayPartsToString(parts);
  return {
    signatures: help.items.map((item) => ({
      label: [
        text(item.prefixDisplayParts),
        item.parameters.map(({ displayParts }) => text(displayParts)).join(text(item.separatorDisplayParts)),
        text(item.suffixDisplayParts),
      ].join(''),
      documentation: documentationOf({
        documentation: item.documentation,
        // Parameters have theirs beside them.
        tags: item.tags.filter(({ name }) => name !== 'param'),
      }),
      parameters: item.parameters.map(({ displayParts, documentation }) => ({
        label: text(displayParts),
        documentation: text(documentation),
      })),
    })),
    activeSignature: help.selectedItemIndex,
    activeParameter: help.argumentIndex,
  };
}
