/** Rows of text as a table for people. */

/** Columns padded with spaces, the first row being the headings; columns of numbers stand at the right. */
export function textTable(rows: readonly (readonly string[])[]): string {
  const [headings = [], ...body] = rows;
  const columns = headings.map((heading, column) => ({
    width: Math.max(heading.length, ...body.map((row) => row[column]?.length ?? 0)),
    numeric:
      body.length > 0 && body.every((row) => /^[-–\d.,/]*( ?([kMGT]?B|[kMGT%]))?$/.test(row[column] ?? '')),
  }));
  return rows
    .map((row) =>
      columns
        .map(({ width, numeric }, column) =>
          numeric ? (row[column] ?? '').padStart(width) : (row[column] ?? '').padEnd(width),
        )
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** The same as an HTML table. */
export function htmlTable(rows: readonly (readonly string[])[]): string {
  const row = (tag: string, cells: readonly string[]): string =>
    `<tr>${cells.map((cell) => `<${tag}>${escapeHtml(cell)}</${tag}>`).join('')}</tr>`;
  return `<table>${rows.map((cells, index) => row(index === 0 ? 'th' : 'td', cells)).join('')}</table>`;
}

/** Text as HTML shows it. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}
