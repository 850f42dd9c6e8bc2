"""Answer a question with passages of the owner: encoders, ranking and ladder, the same as in `web/answers.js`."""
