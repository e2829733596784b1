/** Style sheets are bundled as text. */
declare module '*.css' {
  const text: string;
  // eslint-disable-next-line no-restricted-syntax -- esbuild's text loader gives a default export
  export default text;
}
