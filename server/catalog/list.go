package catalog

import (
	"context"
	"errors"

	pb "github.com/sigmasource/sigmasource/gen/sigmasource/v1"
	"github.com/sigmasource/sigmasource/server/errmap"
	"github.com/sigmasource/sigmasource/server/resource"
	"github.com/sigmasource/sigmasource/server/store"
)

// ListWorkbooks returns a page of workbooks.
func (s *Service) ListWorkbooks(ctx context.Context, request *pb.ListWorkbooksRequest) (*pb.ListWorkbooksResponse, error) {
	if _, err := s.store.Connection(ctx, request.GetParent()); err != nil {
		return nil, listError(err, request.GetParent())
	}
	workbooks, next, err := s.store.ListWorkbooks(ctx, request.GetParent(), store.ListOptions{
		ShowGone: request.GetShowGone(), Filter: request.GetFilter(), OrderBy: request.GetOrderBy(), Query: request.GetQuery(),
	}, store.Page{Size: request.GetPageSize(), Token: request.GetPageToken()})
	if err != nil {
		return nil, listError(err, request.GetParent())
	}
	return &pb.ListWorkbooksResponse{Workbooks: workbooks, NextPageToken: next}, nil
}

// ListModels returns a page of models without their columns.
func (s *Service) ListModels(ctx context.Context, request *pb.ListModelsRequest) (*pb.ListModelsResponse, error) {
	if workbook := request.GetWorkbook(); workbook != "" {
		name, err := resource.ParseWorkbook(workbook)
		if err != nil {
			return nil, errmap.InvalidField("workbook", err.Error())
		}
		if name.Connection.String() != request.GetParent() {
			return nil, errmap.InvalidField("workbook", "it lies outside of the parent")
		}
	}
	if _, err := s.store.Connection(ctx, request.GetParent()); err != nil {
		return nil, listError(err, request.GetParent())
	}
	models, next, err := s.store.ListModels(ctx, request.GetParent(), store.ListOptions{
		Workbook: request.GetWorkbook(), ShowGone: request.GetShowGone(),
		Filter: request.GetFilter(), OrderBy: request.GetOrderBy(), Query: request.GetQuery(),
	}, store.Page{Size: request.GetPageSize(), Token: request.GetPageToken()})
	if err != nil {
		return nil, listError(err, request.GetParent())
	}
	return &pb.ListModelsResponse{Models: models, NextPageToken: next}, nil
}

func listError(err error, parent string) error {
	var wrong *store.RequestError
	if errors.As(err, &wrong) {
		return errmap.InvalidField(wrong.Field, wrong.Problem)
	}
	return storeError(err, pb.ErrorReason_ERROR_REASON_CONNECTION_NOT_FOUND, parent)
}
