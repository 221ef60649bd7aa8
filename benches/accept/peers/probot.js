// A Probot app, run by `probot run`: checks the signature, stores nothing, one handler that does nothing.
export default (app) => {
  app.on("push", () => {});
};
