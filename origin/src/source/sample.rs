use super::*;
/// The samples.
#[derive(Debug)]
pub struct SampleSource;
#[async_trait]
impl Source for SampleSource {
    fn name(&self) -> &str {
        "sample"
    }
    fn answers_by_category(&self) -> bool {
        false
    }
    fn is_sample(&self) -> bool {
        true
    }
    async fn fetch(&self, _: Query, _: DateTime<Utc>) -> Result<Batch, SourceError> {
        Ok(Batch::default())
    }
}
