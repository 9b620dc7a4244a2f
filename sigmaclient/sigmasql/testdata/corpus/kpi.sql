select COUNT_46 "Row Count" from (select count(1) COUNT_46 from SHOP.SALES.ORDERS left join (select CUSTOMER_ID, NAME from SHOP.SALES.CUSTOMERS) Q2 on ORDERS.CUSTOMER_ID = Q2.CUSTOMER_ID) Q1

-- Sigma Σ {"request-id":"5f0c1d6e-1f2a-4b7c-9d11-000000000001","email":"ana.lima@example.com"}