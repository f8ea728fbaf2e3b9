/** The chart library's file is served beside this one's: its types are the npm package's. */
export { default } from "uplot";
